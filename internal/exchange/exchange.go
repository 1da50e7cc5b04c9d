package exchange

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/ginfer/ginfer/internal/ginctx"
	"github.com/ginfer/ginfer/internal/llm"
)

// Exchange is one client request with all attempts made for it. Its exported fields are set before
// the first attempt. All methods are safe for concurrent use.
type Exchange struct {
	// Caller is a hash of the caller's identity or address; 0: unknown.
	Caller uint64
	// API is the API that the request calls.
	API llm.API
	// Dialect is the dialect if API is llm.Own; nil otherwise.
	Dialect *llm.Dialect
	// Generates reports that the call generates text, so that a response without any is a
	// failure. It need not be set if the API implies it.
	Generates bool
	// Tools reports that the request has tools. A model may be silent while it writes their
	// arguments.
	Tools bool
	// Shadow excludes the attempts from health, and from every caller's account.
	Shadow bool
	// Credentials are the client's own, as returned by [Credentials]: a request with the same ones
	// uses the client's credential upstream. Known reports that they were looked for.
	Credentials string
	Known       bool
	// Limits bounds the parts of each attempt.
	Limits Limits
	// Repeats reports whether the proxy would follow an attempt with this verdict by another
	// one at the same upstream. Nil means never.
	Repeats func(a *Attempt, v Verdict) bool
	// Spend takes one extra attempt from the proxy's budget and reports whether it had one. Nil
	// means an unlimited budget.
	Spend func() bool
	// Managed reports that the caller closes every response. Otherwise an attempt ends with its
	// request's context at the latest.
	Managed bool
	// Upload returns the reason why the client's body broke off, or nil. Nil: it is held in
	// memory.
	Upload func() error

	carried carried // the value in requests' contexts, without another allocation

	mu       sync.Mutex
	count    int
	final    bool
	used     list[string]
	onEvent  list[func(*Attempt, int64)]
	onEnd    list[func(*Attempt, *End)]
	served   Served
	isServed bool
	observed list[observed]
	passed   list[any] // the middlewares of Enter
}

// Served describes a response for which no attempt was made, such as a cache hit.
type Served struct {
	Usage    llm.Usage
	Finished bool
}

type exchangeKey struct{}

// With returns a context that carries x.
func With(ctx context.Context, x *Exchange) context.Context {
	return context.WithValue(ctx, exchangeKey{}, x)
}

// From returns the exchange in ctx, or nil.
func From(ctx context.Context) *Exchange {
	if a := Current(ctx); a != nil {
		return a.x
	}
	x, _ := ginctx.Value(ctx, exchangeKey{}).(*Exchange)
	return x
}

// Of returns the exchange of a request, and the request that carries it. It makes a new one if
// there is none.
func Of(r *http.Request) (*Exchange, *http.Request) {
	if x := From(r.Context()); x != nil {
		return x, r
	}
	x := new(Exchange)
	x.carried.set(r.Context(), exchangeKey{}, x)
	return x, r.WithContext(&x.carried) //nolint:contextcheck // r's context with a value
}

// Attempts returns the number of attempts made so far.
func (x *Exchange) Attempts() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.count
}

// Finalize keeps the proxy from making another attempt, because the effects of the layers below
// must not be repeated.
func (x *Exchange) Finalize() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.final = true
}

// Final reports whether Finalize was called.
func (x *Exchange) Final() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.final
}

// Used reports whether an attempt went to the endpoint.
func (x *Exchange) Used(endpoint string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Contains(x.used.all, endpoint)
}

func (x *Exchange) use(endpoint string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !slices.Contains(x.used.all, endpoint) {
		x.used.add(endpoint)
	}
}

// OnEvent registers f for all attempts. It is called after events with content came, with their
// number so far.
func (x *Exchange) OnEvent(f func(a *Attempt, n int64)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.onEvent.add(f)
}

// OnEnd registers f for the end of every attempt, after the attempt's own hooks.
func (x *Exchange) OnEnd(f func(a *Attempt, e *End)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.onEnd.add(f)
}

// Serve records a response for which no attempt was made. The last call counts.
func (x *Exchange) Serve(s Served) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.served, x.isServed = s, true
}

// Served returns what Serve recorded.
func (x *Exchange) Served() (Served, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.served, x.isServed
}

// next counts an attempt.
func (x *Exchange) next() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.count++
	return x.count
}

// Limits bounds the parts of an attempt; 0 means no limit.
type Limits struct {
	// Connect bounds the time to set up a connection.
	Connect time.Duration
	// FirstByte bounds the time to the first byte of any kind.
	FirstByte time.Duration
	// FirstContent bounds the time to the first content of a call that generates text.
	FirstContent time.Duration
	// Prefetch keeps responses back until their content has begun, but for no longer than Hold.
	Prefetch bool
	Hold     time.Duration
	// Idle bounds each wait for the next bytes: Opening that of a stream without content so
	// far, Stall that of a stream with a known pace.
	Idle, Opening, Stall time.Duration
	// Deadline is when the attempt must have ended; zero: no limit.
	Deadline time.Time
	// Hurried reports that Deadline is the client's own: an upstream that misses it has not
	// failed. Ample reports that it is no shorter than the gateway's own, so that a 504 is
	// still a failure.
	Hurried, Ample bool
}
