package proxy

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"
)

// Retry says which tries are repeated. A try is repeated only before anything
// of an answer went to the client, only while its body can be sent again, and
// only within the budget. Zero means the default, negative means off.
type Retry struct {
	// Attempts is the most tries of one exchange, the first included. Default 3;
	// negative or 1: none is repeated.
	Attempts int
	// Repeat reports whether a request may be sent again after an upstream may
	// have acted on it. Requests that no upstream got are repeated in any case.
	// Default [Idempotent]; [Always] suits inference, where a repeated call
	// costs tokens and harms nobody.
	Repeat func(*http.Request) bool
	// Statuses are answers that are treated as a failed try.
	// Default 429, 500, 502, 503, 504 and 529; empty but not nil: none.
	Statuses []int
	// Backoff is the upper bound of the first wait between tries; it doubles up
	// to MaxBackoff, and the wait is drawn evenly from zero to it ("full
	// jitter"). Defaults 25 ms and 1 s.
	Backoff, MaxBackoff time.Duration
	// MaxRetryAfter is the longest Retry-After that is waited for when there
	// is no other endpoint; with a longer one the answer goes to the client.
	// Default 2 s; negative: none is waited for.
	MaxRetryAfter time.Duration
	// BudgetRatio and BudgetReserve bound all extra tries together, repeated ones,
	// fallbacks and hedges, over ten seconds: so many per request, or so many a
	// second, whichever is more. Defaults 0.2 and 1. Source: Finagle's RetryBudget.
	BudgetRatio, BudgetReserve float64
}

// Idempotent reports whether a request may be repeated by RFC 9110 §9.2.2, or
// carries an Idempotency-Key.
func Idempotent(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return r.Header.Get("Idempotency-Key") != ""
}

// Always reports true: every request may be repeated.
func Always(*http.Request) bool { return true }

// retryPolicy is a Retry with its defaults filled in.
type retryPolicy struct {
	tries                              int
	repeat                             func(*http.Request) bool
	statuses                           []int
	backoff, maxBackoff, maxRetryAfter time.Duration
	ratio, reserve                     float64
}

func (r Retry) resolve() (retryPolicy, error) {
	p := retryPolicy{
		tries: orDefault(r.Attempts, 3), repeat: r.Repeat, statuses: r.Statuses,
		backoff: orDefault(r.Backoff, 25*time.Millisecond), maxBackoff: orDefault(r.MaxBackoff, time.Second),
		maxRetryAfter: orDefault(r.MaxRetryAfter, 2*time.Second),
		ratio:         orDefault(r.BudgetRatio, 0.2), reserve: orDefault(r.BudgetReserve, 1),
	}
	if p.repeat == nil {
		p.repeat = Idempotent
	}
	if p.statuses == nil {
		p.statuses = []int{http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout, 529}
	}
	var faults []error
	if p.tries > 10 {
		faults = append(faults, fmt.Errorf("proxy: Retry.Attempts: %d is more than 10", p.tries))
	}
	if !(p.ratio <= 1) {
		faults = append(faults, fmt.Errorf("proxy: Retry.BudgetRatio: %v is more than 1", p.ratio))
	}
	if math.IsNaN(p.reserve) { // NaN would allow everything
		faults = append(faults, errors.New("proxy: Retry.BudgetReserve: not a number"))
	}
	for _, s := range p.statuses {
		if s < 400 || s > 599 {
			faults = append(faults, fmt.Errorf("proxy: Retry.Statuses: %d is not an error status", s))
		}
	}
	return p, errors.Join(faults...)
}

// wait is how long to pause before the try after number n.
func (p *retryPolicy) wait(n int) time.Duration {
	if p.backoff <= 0 {
		return 0
	}
	bound := p.backoff << min(n-1, 20)
	if p.maxBackoff > 0 {
		bound = min(bound, p.maxBackoff)
	}
	return rand.N(bound + 1) //nolint:gosec // spreads load, is no secret
}

func (p *retryPolicy) repeats(status int) bool { return slices.Contains(p.statuses, status) }
