package exchange

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/ginfer/ginfer/internal/llm"
)

// Attempt is one upstream call within an [Exchange]. All methods are safe for concurrent use.
type Attempt struct {
	x      *Exchange
	number int
	hedge  bool
	outer  context.Context //nolint:containedctx //nolint:containedctx // the parent: it ends with the client's request
	ctx    context.Context //nolint:containedctx //nolint:containedctx // the attempt's own
	values carried         // ctx, with the attempt in it
	stop   context.CancelCauseFunc
	dog    watchdog
	start  time.Time
	limits Limits
	api    llm.API
	own    *llm.Dialect // the dialect when api is llm.Own

	mu       sync.Mutex
	last     *Attempt // the attempt before this one within a layer below; nil: none
	next     *Attempt // the attempt after this one there; nil: none
	calls    int      // Do calls in progress
	endpoint string
	others   int
	patience time.Duration
	filter   Filter
	decodes  bool
	noted    *Verdict
	sender   sender
	invalid  bool
	ownLimit time.Duration // the limit that the request gives its server; 0: none
	open     bool          // set by Prefetch

	head     time.Time
	content  time.Time
	status   int
	header   http.Header
	grpc     int          // the grpc-status in the header; -1: none
	body     *body        // nil: there is none yet
	room     body         // memory for it
	scanner  *llm.Scanner // from the pool of scanners, until the end; unread while nothing is scanned
	scans    bool
	events   int64
	bytes    int64
	blank    bool // only white space so far
	eof      bool
	closed   bool
	panicked bool
	err      error
	ended    bool
	end      End
	hooks    hooks
	unwatch  func() bool // stops watching outer; nil: outer is not watched
}

type attemptKey struct{}

// Current returns the attempt in ctx, or nil.
func Current(ctx context.Context) *Attempt {
	a, _ := ctx.Value(attemptKey{}).(*Attempt)
	return a
}

// Latest returns the last attempt of the chain that layers below began after this one, or
// the attempt itself.
func (a *Attempt) Latest() *Attempt {
	for {
		a.mu.Lock()
		next := a.next
		a.mu.Unlock()
		if next == nil {
			return a
		}
		a = next
	}
}

// Each calls f with the attempt and with those that layers below began after it.
func (a *Attempt) Each(f func(*Attempt)) {
	for a != nil {
		a.mu.Lock()
		next := a.next
		a.mu.Unlock()
		f(a)
		a = next
	}
}

// Again resets an attempt that a layer refused, for use with another upstream: what the
// first upstream reported does not apply to the next.
func (a *Attempt) Again() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.endpoint, a.others = "", 0
	a.limits.FirstByte, a.patience = a.x.Limits.FirstByte, 0
}

// Gone reports whether the attempt's parent context has ended.
func (a *Attempt) Gone() bool { return a.outer.Err() != nil }

// Exchange returns the exchange that the attempt belongs to.
func (a *Attempt) Exchange() *Exchange { return a.x }

// Follows reports whether a layer below began the attempt as a fallback for another one.
func (a *Attempt) Follows() bool { return a.last != nil }

// Number returns the attempt's number within the exchange. The first one is 1.
func (a *Attempt) Number() int { return a.number }

// Hedge reports whether the attempt runs beside another, slow one.
func (a *Attempt) Hedge() bool { return a.hedge }

// Began returns the time at which the attempt began.
func (a *Attempt) Began() time.Time { return a.start }

// API returns the API that the request calls.
func (a *Attempt) API() llm.API { return a.api }

// Context returns the attempt's own context. It ends with the attempt's limits.
func (a *Attempt) Context() context.Context { return a.ctx }

// ConnectTimeout returns the limit for setting up a connection; 0: the transport decides.
// It may be called on nil.
func (a *Attempt) ConnectTimeout() time.Duration {
	if a == nil {
		return 0
	}
	return a.limits.Connect
}

// SetPatience bounds the time until the response begins, for this attempt; with [Prefetch],
// the time until its first content. It is called before Do.
func (a *Attempt) SetPatience(d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if d <= 0 {
		return
	}
	if a.patience <= 0 || d < a.patience {
		a.patience = d
	}
	if a.limits.FirstByte <= 0 || d < a.limits.FirstByte {
		a.limits.FirstByte = d
	}
}

// Cancel cancels the attempt's context.
func (a *Attempt) Cancel(cause error) { a.stop(cause) }

// Note records a verdict before the attempt has ended, for layers that know more, such as a
// transport that ended it. The first verdict stands; Note reports whether this is it.
func (a *Attempt) Note(v Verdict) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.noted != nil || a.ended {
		return false
	}
	a.noted = &v
	return true
}

// Use records the attempt's endpoint.
func (a *Attempt) Use(endpoint string) {
	a.mu.Lock()
	a.endpoint = endpoint
	a.mu.Unlock()
	a.x.use(endpoint)
}

// Endpoint returns the attempt's endpoint; "" without a balancer.
func (a *Attempt) Endpoint() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.endpoint
}

// SetOthers records the number of other available endpoints that are still unused.
func (a *Attempt) SetOthers(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.others = n
}

// Others returns the number that SetOthers recorded.
func (a *Attempt) Others() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.others
}

// SetFilter installs a filter for the response's events. It is called before the body is read.
func (a *Attempt) SetFilter(f Filter) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.filter = f
}

// Verdict returns the attempt's verdict: the final one, or the one as of now.
func (a *Attempt) Verdict() Verdict {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended {
		return a.end.Verdict
	}
	f := a.facts()
	return judge(&f)
}

// Finish ends an attempt that no layer ended, with the caller's error.
func (a *Attempt) Finish(err error) {
	a.finish(func() { a.err = err })
	a.release()
}

func (a *Attempt) isEnded() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ended
}

// Uploading restarts the wait for the first byte: the client's body is still being sent.
func (a *Attempt) Uploading() {
	a.mu.Lock()
	waits := a.head.IsZero() && !a.ended
	a.mu.Unlock()
	if waits {
		a.dog.arm(LimitFirstByte, time.Now(), a.limits.FirstByte)
	}
}
