package exchange

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/ginfer/ginfer/internal/llm"
)

// Attempt is one upstream call. All methods are safe for concurrent use.
type Attempt struct {
	x      *Exchange
	number int
	hedge  bool
	outer  context.Context //nolint:containedctx // what began it: it ends with the client's request
	ctx    context.Context //nolint:containedctx // its own
	values carried         // ctx, and the attempt
	stop   context.CancelCauseFunc
	dog    watchdog
	start  time.Time
	limits Limits
	api    llm.API
	own    *llm.Dialect // of which api is llm.Own

	mu       sync.Mutex
	last     *Attempt // that it follows within a layer below; nil: none
	next     *Attempt // that follows it there; nil: none
	calls    int      // of Do under way
	endpoint string
	others   int
	patience time.Duration
	filter   Filter
	decodes  bool
	noted    *Verdict
	sender   sender
	invalid  bool
	ownLimit time.Duration // that the request gives its server; 0: none
	open     bool          // by Prefetch

	head     time.Time
	content  time.Time
	status   int
	header   http.Header
	grpc     int          // the grpc-status in the header; -1: none
	body     *body        // nil: there is none yet
	room     body         // for it
	scanner  *llm.Scanner // of scanners, until the end; unread while nothing is scanned
	scans    bool
	events   int64
	bytes    int64
	blank    bool // there was nothing but white space
	eof      bool
	closed   bool
	panicked bool
	err      error
	ended    bool
	end      End
	hooks    hooks
	unwatch  func() bool // the end of outer; nil: it is not watched
}

type attemptKey struct{}

// Current returns the attempt in ctx, or nil.
func Current(ctx context.Context) *Attempt {
	a, _ := ctx.Value(attemptKey{}).(*Attempt)
	return a
}

// Latest is the attempt itself, or the last of those that followed it within a layer below.
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

// Each calls f with the attempt itself and with those that followed it within the layers
// below.
func (a *Attempt) Each(f func(*Attempt)) {
	for a != nil {
		a.mu.Lock()
		next := a.next
		a.mu.Unlock()
		f(a)
		a = next
	}
}

// Again readies an attempt that a layer refused, for another upstream: what was said of
// the one that refused does not hold for that.
func (a *Attempt) Again() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.endpoint, a.others = "", 0
	a.limits.FirstByte, a.patience = a.x.Limits.FirstByte, 0
}

// Gone reports whether nobody waits for the attempt any more.
func (a *Attempt) Gone() bool { return a.outer.Err() != nil }

// Exchange is what the attempt is of.
func (a *Attempt) Exchange() *Exchange { return a.x }

// Follows reports whether a layer below made the attempt after another one, as a fallback.
func (a *Attempt) Follows() bool { return a.last != nil }

// Number is 1 for the exchange's first attempt.
func (a *Attempt) Number() int { return a.number }

// Hedge reports whether the attempt was begun beside another one that is slow.
func (a *Attempt) Hedge() bool { return a.hedge }

// Began is when it did.
func (a *Attempt) Began() time.Time { return a.start }

// API is the one that is called.
func (a *Attempt) API() llm.API { return a.api }

// Context is the attempt's own. It ends with the attempt's limits.
func (a *Attempt) Context() context.Context { return a.ctx }

// ConnectTimeout bounds the setting up of a connection; 0: the transport decides. It may be
// called on nil.
func (a *Attempt) ConnectTimeout() time.Duration {
	if a == nil {
		return 0
	}
	return a.limits.Connect
}

// SetPatience bounds, for this attempt, the time to the begin of its response: of one that
// is kept back to its first content. It is called before Do.
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

// Cancel ends what the attempt waits for.
func (a *Attempt) Cancel(cause error) { a.stop(cause) }

// Note records the verdict before the attempt has ended: for who knows better, such as a
// transport that ended it. The first one stands; it reports whether this is it.
func (a *Attempt) Note(v Verdict) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.noted != nil || a.ended {
		return false
	}
	a.noted = &v
	return true
}

// Use records the endpoint that the attempt goes to.
func (a *Attempt) Use(endpoint string) {
	a.mu.Lock()
	a.endpoint = endpoint
	a.mu.Unlock()
	a.x.use(endpoint)
}

// Endpoint is where the attempt went; "" when no balancer said so.
func (a *Attempt) Endpoint() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.endpoint
}

// SetOthers records how many other available endpoints are still unused.
func (a *Attempt) SetOthers(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.others = n
}

// Others is what SetOthers recorded.
func (a *Attempt) Others() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.others
}

// SetFilter has f decide what becomes of each event. It is called before the body is read.
func (a *Attempt) SetFilter(f Filter) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.filter = f
}

// Verdict judges the attempt as it is so far, or as it ended.
func (a *Attempt) Verdict() Verdict {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended {
		return a.end.Verdict
	}
	f := a.facts()
	return judge(&f)
}

// Finish ends the attempt with an error of the caller's: for one that no layer ended.
func (a *Attempt) Finish(err error) {
	a.finish(func() { a.err = err })
	a.release()
}

func (a *Attempt) isEnded() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ended
}

// Uploading begins the wait for the first byte again: the client's body is still on its way.
func (a *Attempt) Uploading() {
	a.mu.Lock()
	waits := a.head.IsZero() && !a.ended
	a.mu.Unlock()
	if waits {
		a.dog.arm(LimitFirstByte, time.Now(), a.limits.FirstByte)
	}
}
