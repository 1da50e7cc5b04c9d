// Package attempt is what one try of an exchange shares between the proxy,
// which makes tries, and the RoundTrippers below it, which carry them out. It
// travels in the context of the outbound request.
package attempt

import (
	"context"
	"slices"
	"sync"
)

// Exchange is one client request and all the tries made for it.
type Exchange struct {
	mu    sync.Mutex
	used  []string
	spend func() bool
}

// NewExchange returns an exchange. Spend takes one extra upstream call from
// the caller's budget; nil means an unlimited budget.
func NewExchange(spend func() bool) *Exchange { return &Exchange{spend: spend} }

// Try returns the exchange's try of the given number, from 1. Last says that
// the caller will make no other.
func (e *Exchange) Try(number int, last bool) *Try {
	return &Try{exchange: e, number: number, last: last}
}

// Try is one call of the transport. All methods are safe for concurrent use
// and on a nil Try, which stands for a request that no proxy made.
type Try struct {
	exchange *Exchange
	number   int
	last     bool

	mu       sync.Mutex
	endpoint string
	others   int
	err      error
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

// Last reports that the caller makes no other try after this one.
func (t *Try) Last() bool { return t == nil || t.last }

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

// Spend takes one extra upstream call from the budget and reports whether
// there was one left.
func (t *Try) Spend() bool {
	return t == nil || t.exchange.spend == nil || t.exchange.spend()
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

// Err is the verdict; nil means none, or success.
func (t *Try) Err() error {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}
