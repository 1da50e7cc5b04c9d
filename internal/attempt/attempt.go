// Package attempt is what one try of an exchange shares between the proxy,
// which makes tries, and the RoundTrippers below it, which carry them out. It
// travels in the context of the outbound request.
package attempt

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/ginfer/ginfer/internal/exchange"
)

// ErrTimeout is the cause of a context that ended because the upstream was
// too slow, and not because the client left.
var ErrTimeout = exchange.ErrTimeout

// ErrDeadline is the cause of a context that ended because the time had passed which the
// client itself gives. That says nothing of the upstream, else clients could have every
// endpoint taken for broken.
var ErrDeadline = exchange.ErrDeadline

// How the stream of a model can fail although its status and its framing are well.
var (
	// ErrCut: it had content and ended without its last event.
	ErrCut = errors.New("the stream ended without its last event")
	// ErrSaid: an event after its content says so.
	ErrSaid = errors.New("the stream says that it failed")
)

// NotSentError is what a layer below refuses a try with before anything was sent.
type NotSentError = exchange.NotSentError

// Abandoned reports that ctx ended for a reason that says nothing of the
// upstream: the client left, or a newer part of the gateway took over. A passed
// deadline and ErrTimeout are the upstream's failures.
func Abandoned(ctx context.Context) bool {
	return errors.Is(ctx.Err(), context.Canceled) && !errors.Is(context.Cause(ctx), ErrTimeout)
}

// Exchange is one client request and all the tries made for it. The fields
// are set before the first try.
type Exchange struct {
	// Repeats reports whether the caller would follow the try, ended so, by
	// another one at the same upstream. Nil means never.
	Repeats func(t *Try, res *http.Response, err error) bool
	// Spend takes one extra upstream call from the caller's budget and reports
	// whether there was one. Nil means an unlimited budget.
	Spend func() bool
	// Connect bounds the setting up of a connection; 0 leaves it to the
	// transport.
	Connect time.Duration
	// FirstByte is how long an answer may take to begin; 0 is without a limit.
	FirstByte time.Duration
	// Held has an answer kept back until it has begun to say something, but for no
	// longer than Hold; 0 is without a limit.
	Held bool
	Hold time.Duration
	// Hurried: the client gives less time than the gateway would, and the upstream is told
	// so. That it can't answer in that time is no failure.
	Hurried bool

	mu   sync.Mutex
	last bool // no try may follow
	used []string
	room [2]string // for used, without another allocation
}

// Try returns the exchange's try of the given number, from 1.
func (e *Exchange) Try(number int) *Try {
	t := new(Try)
	e.Begin(t, number)
	return t
}

// Begin makes t, which must be zero, the exchange's try of the given number.
func (e *Exchange) Begin(t *Try, number int) { t.exchange, t.number = e, number }

// BeginHedge is Begin for a try beside another one that is slow. It must not fall back.
func (e *Exchange) BeginHedge(t *Try, number int) {
	e.Begin(t, number)
	t.hedge = true
}

// Try is one call of the transport. All methods are safe for concurrent use
// and on a nil Try, which stands for a request that no proxy made.
type Try struct {
	exchange *Exchange
	number   int
	hedge    bool
	owner    Owner

	mu       sync.Mutex
	endpoint string
	others   int
	err      error
	watched  bool
	held     bool
	onAlive  func()
}

// Stream is what was read of a model's stream.
type Stream interface {
	// Events is how many had content.
	Events() int64
	// Ended reports whether the last event came.
	Ended() bool
	// Failed reports whether an event says that it failed.
	Failed() bool
}

type key struct{}

// With returns a context that carries t.
func With(ctx context.Context, t *Try) context.Context { return context.WithValue(ctx, key{}, t) }

// From returns the try in ctx, or nil.
func From(ctx context.Context) *Try {
	t, _ := ctx.Value(key{}).(*Try)
	return t
}

// Number is 1 for the first try.
func (t *Try) Number() int {
	if t == nil {
		return 1
	}
	return t.number
}

// Final reports that the caller will not repeat this try at the same
// upstream, given that it ended with res or err: the time to fall back. A hedge
// never does: the try beside it may still be well.
func (t *Try) Final(res *http.Response, err error) bool {
	return t == nil || !t.hedge && (t.exchange.Repeats == nil || !t.exchange.Repeats(t, res, err))
}

// Hedge reports whether the try was begun beside another one that is slow.
func (t *Try) Hedge() bool { return t != nil && t.hedge }

// Hold reports whether an answer is to be kept back until it has begun to say
// something, and for how long at most; 0 is without a limit.
func (t *Try) Hold() (limit time.Duration, wanted bool) {
	if t == nil {
		return 0, false
	}
	return t.exchange.Hold, t.exchange.Held
}

// Owner is who made a try and looks after it.
type Owner interface {
	// Alive is called when a part of an answer came that is kept back.
	Alive()
	// Cancel ends what the try waits for.
	Cancel(cause error)
	// Anew has the try's wait for an answer begin again, with its limit or without.
	Anew(limited bool)
}

// Own names the owner, before the try is used.
func (t *Try) Own(o Owner) { t.owner = o }

// Alive tells the owner that a part of an answer came which is kept back, and whoever
// else has a limit of its own.
func (t *Try) Alive() {
	if t == nil {
		return
	}
	t.mu.Lock()
	also := t.onAlive
	t.mu.Unlock()
	if also != nil {
		also()
	}
	if t.owner != nil {
		t.owner.Alive()
	}
}

// OnAlive has f called by Alive, until Anew.
func (t *Try) OnAlive(f func()) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.onAlive = f
}

// Cancel has the owner end what the try waits for.
func (t *Try) Cancel(cause error) {
	if t != nil && t.owner != nil {
		t.owner.Cancel(cause)
	}
}

// Late reports whether an answer with this status only says that the client gave too
// little time.
func (t *Try) Late(status int) bool {
	return t != nil && t.exchange.Hurried && status == http.StatusGatewayTimeout
}

// FirstByte is how long an answer may take to begin; 0 is without a limit.
func (t *Try) FirstByte() time.Duration {
	if t == nil {
		return 0
	}
	return t.exchange.FirstByte
}

// Anew tells the owner that the try asks somebody else now, whose wait it limits
// itself or not. What was said of who was asked before is not said of this one.
func (t *Try) Anew(limited bool) {
	if t == nil {
		return
	}
	t.mu.Lock()
	t.endpoint, t.others, t.err, t.watched, t.held = "", 0, nil, false, false
	t.onAlive = nil
	t.mu.Unlock()
	if t.owner != nil {
		t.owner.Anew(limited)
	}
}

// MakeLast keeps the caller from following up with another try: what the layers
// below did with this one must not be done again.
func (t *Try) MakeLast() {
	if t == nil {
		return
	}
	t.exchange.mu.Lock()
	defer t.exchange.mu.Unlock()
	t.exchange.last = true
}

// Last reports whether MakeLast was called for the exchange.
func (t *Try) Last() bool {
	if t == nil {
		return false
	}
	t.exchange.mu.Lock()
	defer t.exchange.mu.Unlock()
	return t.exchange.last
}

// Use records which endpoint this try goes to.
func (t *Try) Use(endpoint string) {
	if t == nil {
		return
	}
	t.mu.Lock()
	t.endpoint = endpoint
	t.mu.Unlock()
	t.exchange.mu.Lock()
	defer t.exchange.mu.Unlock()
	if t.exchange.used == nil {
		t.exchange.used = t.exchange.room[:0]
	}
	if !slices.Contains(t.exchange.used, endpoint) {
		t.exchange.used = append(t.exchange.used, endpoint)
	}
}

// Used reports whether a try of this exchange went to the endpoint.
func (t *Try) Used(endpoint string) bool {
	if t == nil {
		return false
	}
	t.exchange.mu.Lock()
	defer t.exchange.mu.Unlock()
	return slices.Contains(t.exchange.used, endpoint)
}

// Endpoint is where this try went, "" when no balancer said so.
func (t *Try) Endpoint() string {
	if t == nil {
		return ""
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.endpoint
}

// SetOthers records how many other available endpoints are still unused.
func (t *Try) SetOthers(n int) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.others = n
}

// Others is what SetOthers recorded.
func (t *Try) Others() int {
	if t == nil {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.others
}

// ConnectTimeout bounds the setting up of a connection for this try; 0 means
// that the transport decides.
func (t *Try) ConnectTimeout() time.Duration {
	if t == nil {
		return 0
	}
	return t.exchange.Connect
}

// Spend takes one extra upstream call from the budget and reports whether
// there was one left.
func (t *Try) Spend() bool {
	return t == nil || t.exchange.Spend == nil || t.exchange.Spend()
}

// Fail records the verdict on the exchange before its body is closed. The
// first one stands.
func (t *Try) Fail(err error) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err == nil {
		t.err = err
	}
}

// HoldOnce reports whether nobody held this answer back before.
func (t *Try) HoldOnce() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.held
	t.held = true
	return !before
}

// Watch says that a layer reads the answer's stream, and will Judge it.
func (t *Try) Watch() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.watched = true
}

// Watched reports whether a layer does.
func (t *Try) Watched() bool {
	if t == nil {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.watched
}

// Judge records the verdict that a stream gives of itself, over when it has ended. One
// that had no content is judged by who held it back.
func (t *Try) Judge(s Stream, over bool) {
	switch {
	case s.Events() == 0:
	case s.Failed():
		t.Fail(ErrSaid)
	case over && !s.Ended():
		t.Fail(ErrCut)
	}
}

// Err is the verdict; nil means none, or success.
func (t *Try) Err() error {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}
