package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/fault"
	"github.com/ginfer/ginfer/internal/retryafter"
)

// Retry configures retries. An attempt is retried only if the client has received nothing of its
// response, its body can be sent again, and the budget allows it. Zero values select the defaults,
// negative ones disable.
type Retry struct {
	// Attempts is the maximum number of attempts per exchange, from 1 to 10, the first
	// included. Default: 3; negative or 1: no retries.
	Attempts int
	// Repeat reports whether a request may be sent again although an upstream may have acted on
	// it. Requests that reached no upstream are retried in any case. Use [Always] for
	// inference, where a repeated call only costs tokens. Default: [Idempotent].
	Repeat func(*http.Request) bool
	// Statuses are the response statuses that count as a failed attempt. Default: 429, 500,
	// 502, 503, 504 and 529; empty but not nil: none.
	Statuses []int
	// Backoff is the upper bound of the first wait between attempts; it doubles up to
	// MaxBackoff. The wait is drawn uniformly from zero to the bound ("full jitter"). Default:
	// 25 ms and 1 s.
	Backoff, MaxBackoff time.Duration
	// MaxRetryAfter is the longest Retry-After that is waited for if there is no other
	// endpoint. With a longer one the client receives the response. Default: 2 s; negative: no
	// wait.
	MaxRetryAfter time.Duration
	// BudgetRatio and BudgetReserve limit all extra attempts over ten seconds: retries,
	// fallbacks and hedges. BudgetRatio is a number per request, at most 1, BudgetReserve one per second;
	// the larger result applies. Default: 0.2 and 1. Source: Finagle's RetryBudget.
	BudgetRatio, BudgetReserve float64
}

// Idempotent reports whether a request may be repeated according to RFC 9110 §9.2.2, or carries an
// Idempotency-Key.
func Idempotent(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return r.Header.Get("Idempotency-Key") != ""
}

// Always reports true. Use it as Retry.Repeat if every request may be repeated.
func Always(*http.Request) bool { return true }

// retryPolicy is a Retry with its defaults applied.
type retryPolicy struct {
	attempts                           int
	repeat                             func(*http.Request) bool
	statuses                           []int
	backoff, maxBackoff, maxRetryAfter time.Duration
	ratio, reserve                     float64
}

func (r Retry) resolve() (retryPolicy, error) {
	p := retryPolicy{
		attempts: cmp.Or(r.Attempts, 3), repeat: r.Repeat, statuses: r.Statuses,
		backoff: cmp.Or(r.Backoff, 25*time.Millisecond), maxBackoff: cmp.Or(r.MaxBackoff, time.Second),
		maxRetryAfter: cmp.Or(r.MaxRetryAfter, 2*time.Second),
		ratio:         cmp.Or(r.BudgetRatio, 0.2), reserve: cmp.Or(r.BudgetReserve, 1),
	}
	if p.repeat == nil {
		p.repeat = Idempotent
	}
	if p.statuses == nil {
		p.statuses = []int{http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout, 529}
	}
	var faults []error
	if p.attempts > 10 {
		faults = append(faults, fmt.Errorf("proxy: Retry.Attempts: %d is more than 10", p.attempts))
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
	return p, fault.Join(faults...)
}

// wait returns the pause before the attempt after number n.
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

// isFailure reports whether an attempt's verdict allows another attempt in its place.
func (p *retryPolicy) isFailure(v exchange.Verdict, res *http.Response) bool {
	if !v.Repeatable || v.Elsewhere || exchange.IsRefused(v.Err) { // a layer that refused would do so again
		return false
	}
	if res != nil && res.StatusCode >= http.StatusBadRequest {
		return p.repeats(res.StatusCode)
	}
	return v.Outcome == exchange.Failure
}

// repeats implements exchange.Exchange.Repeats for the layers below.
func (x *call) repeats(a *exchange.Attempt, v exchange.Verdict) bool {
	var res *http.Response
	if status := a.Status(); status > 0 {
		res = &http.Response{StatusCode: status, Header: a.Header()}
	}
	_, again := x.mayRetry(a, v, res)
	return again
}

// retry decides whether an attempt is retried, and after which wait. It takes nothing from the
// budget.
func (x *call) retry(t *attempt, res *http.Response) (time.Duration, bool) {
	last := t.Latest()
	return x.mayRetry(last, last.Verdict(), res)
}

func (x *call) mayRetry(a *exchange.Attempt, v exchange.Verdict, res *http.Response) (time.Duration, bool) {
	p := &x.p.retry
	n := int(x.attempts.Load())
	if x.x.Final() || x.upload != nil || n >= p.attempts || x.clientGone() || x.deadline.passed(time.Now()) || !p.isFailure(v, res) {
		return 0, false
	}
	if !v.Unsent && !p.repeat(x.c.Request) {
		return 0, false
	}
	return p.pause(n, a.Others(), v, res, time.Now())
}

// pause returns the wait after the attempt of this number. It honors Retry-After unless the
// next attempt goes to another endpoint. A rate limit without Retry-After goes to the client if
// there is no other endpoint.
func (p *retryPolicy) pause(number, others int, v exchange.Verdict, res *http.Response, now time.Time) (time.Duration, bool) {
	wait := p.wait(number)
	if res == nil || others > 0 {
		return wait, true
	}
	after, ok := retryafter.Parse(res.Header, now)
	if !ok {
		return wait, v.Blame != exchange.Credential
	}
	return max(wait, after), after <= p.maxRetryAfter
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
