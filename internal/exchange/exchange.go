package exchange

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/ginfer/ginfer/internal/llm"
)

// Exchange is one client request and all attempts made for it. The exported fields are set
// before the first attempt. All methods are safe for concurrent use.
type Exchange struct {
	// Caller stands for who asks: a hash of the identity, or of the address; 0: unknown.
	Caller uint64
	// API is the one that is called.
	API llm.API
	// Dialect is the one of which API is llm.Own; nil: another is called.
	Dialect *llm.Dialect
	// Generates: the call generates text, so that a response without any failed. It need not
	// be set where the API says so.
	Generates bool
	// Tools: the request has some. A model may then be silent while it works on arguments.
	Tools bool
	// Shadow: the attempts are evidence for nothing, and charged to nobody.
	Shadow bool
	// Credentials are the client's own, as [Credentials] reads them. What goes upstream
	// with the same ones goes with the client's. Known says that they were looked for.
	Credentials string
	Known       bool
	// Limits bound the parts of each attempt.
	Limits Limits
	// Repeats reports whether the proxy would follow the attempt, as it went so far, by
	// another one at the same upstream. Nil means never.
	Repeats func(a *Attempt, v Verdict) bool
	// Spend takes one extra upstream call from the proxy's budget and reports whether there
	// was one. Nil means an unlimited budget.
	Spend func() bool
	// Managed: the caller surely closes every response. Of an exchange that is not, an
	// attempt ends with its request's context at the latest.
	Managed bool
	// Upload returns why the client's body broke off, or nil. Nil: it is held in memory.
	Upload func() error

	carried carried // in requests' contexts, without another allocation

	mu       sync.Mutex
	count    int
	final    bool
	used     []string
	room     [2]string // for used, without another allocation
	onEvent  []func(*Attempt, int64)
	onEnd    []func(*Attempt, *End)
	served   *Served
	observed map[any]bool
}

// Served is what a response says that no attempt was made for: a hit of a cache.
type Served struct {
	Usage    llm.Usage
	Finished bool
}

type exchangeKey struct{}

// With returns a context that carries x.
func With(ctx context.Context, x *Exchange) context.Context {
	return context.WithValue(ctx, exchangeKey{}, x)
}

// carried is a context with one value.
type carried struct {
	context.Context //nolint:containedctx // it is a context itself

	key, value any
}

// Value implements context.Context.
func (c *carried) Value(key any) any {
	if key == c.key {
		return c.value
	}
	return c.Context.Value(key)
}

// From returns the exchange in ctx, or nil.
func From(ctx context.Context) *Exchange {
	if a := Current(ctx); a != nil {
		return a.x
	}
	x, _ := ctx.Value(exchangeKey{}).(*Exchange)
	return x
}

// Of returns the exchange of a request, and the request that carries it: a new one where
// there was none.
func Of(r *http.Request) (*Exchange, *http.Request) {
	if x := From(r.Context()); x != nil {
		return x, r
	}
	x := new(Exchange)
	x.carried = carried{r.Context(), exchangeKey{}, x}
	return x, r.WithContext(&x.carried) //nolint:contextcheck // it is r's with a value
}

// Attempts is how many were made.
func (x *Exchange) Attempts() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.count
}

// Finalize keeps the proxy from following up with another attempt: what the layers below
// did must not be done again.
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
	return slices.Contains(x.used, endpoint)
}

func (x *Exchange) use(endpoint string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.used == nil {
		x.used = x.room[:0]
	}
	if !slices.Contains(x.used, endpoint) {
		x.used = append(x.used, endpoint)
	}
}

// OnEvent has f called for every attempt when events with content came: with how many
// there were so far.
func (x *Exchange) OnEvent(f func(a *Attempt, n int64)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.onEvent = append(x.onEvent, f)
}

// OnEnd has f called at the end of every attempt, after the attempt's own hooks.
func (x *Exchange) OnEnd(f func(a *Attempt, e *End)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.onEnd = append(x.onEnd, f)
}

// Serve records what a response says that no attempt was made for.
func (x *Exchange) Serve(s Served) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.served = &s
}

// Served returns what Serve recorded.
func (x *Exchange) Served() (Served, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.served == nil {
		return Served{}, false
	}
	return *x.served, true
}

// next counts an attempt.
func (x *Exchange) next() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.count++
	return x.count
}

// Limits bound the parts of an attempt; 0 is without a limit.
type Limits struct {
	// Connect bounds the setting up of a connection.
	Connect time.Duration
	// FirstByte bounds the time to the first byte of any kind.
	FirstByte time.Duration
	// FirstContent bounds the time to the first content of a call that generates text.
	FirstContent time.Duration
	// Prefetch: responses are kept back until they have begun to say something, but for no
	// longer than Hold.
	Prefetch bool
	Hold     time.Duration
	// Idle bounds each wait for the next bytes, Opening that of a stream without content
	// yet, Stall that of one whose pace is known.
	Idle, Opening, Stall time.Duration
	// Deadline is when everything must have ended; zero: at any time.
	Deadline time.Time
	// Hurried: Deadline is the client's own: that an upstream can't respond by then is no
	// failure. Ample: it gives no less time than the gateway would, so that a 504 still is.
	Hurried, Ample bool
}
