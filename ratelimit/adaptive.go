package ratelimit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/fault"
)

// ErrOverloaded is returned when the concurrency limit is reached. Its status is 503.
var ErrOverloaded = errors.New("ratelimit: too many requests in flight")

// AdaptiveConfig configures an Adaptive. Every field has a default.
type AdaptiveConfig struct {
	// Initial, Min and Max are the initial limit and its bounds, in requests. Set Initial
	// for a server with a concurrency far below 20, or the first seconds of an overload are
	// slow. Defaults: 20, 4 and 200; Initial moves between given bounds.
	Initial, Min, Max int
	// Tolerance is the ratio of the present time to first token to the usual one above
	// which the limit falls. Default: 1.5; at least 1.
	Tolerance float64
	// Headroom is the number of requests by which the limit probes for more concurrency.
	// Default: a tenth of the limit, at least 1.
	Headroom int
	// All also measures responses that are not event streams. Their first byte comes when
	// the whole response is ready, so that it depends on length more than on load: use it
	// where responses are alike. Default: false.
	All bool
	// Wait queues requests over the limit. Default: they are refused at once.
	Wait Wait
	// ErrorHandler responds to refused requests. Default: [apierror.Abort].
	ErrorHandler func(*gin.Context, error)
	// OnEvent is called with refusals and with changes of the limit. Optional.
	OnEvent func(context.Context, Event)
}

// Adaptive limits the number of concurrent requests by the time to first token: the limit
// rises while that time is as usual, and falls when it is longer. A request counts until its
// handler returns, a stream until its end. The algorithm is based on Gradient2 of
// github.com/Netflix/concurrency-limits, applied to the time to the first byte of the body.
// In a long overload it briefly delays some requests now and then, to measure the time to
// first token without queueing. It is safe for concurrent use.
type Adaptive struct {
	cfg AdaptiveConfig

	mu       sync.Mutex
	gradient gradient
	inflight int
	silent   int // of these, without a first byte
	line     line
}

// NewAdaptive checks cfg and returns an Adaptive. The error joins every fault.
func NewAdaptive(cfg AdaptiveConfig) (*Adaptive, error) {
	cfg.Min = cmp.Or(cfg.Min, min(4, cmp.Or(cfg.Max, 4), cmp.Or(cfg.Initial, 4)))
	cfg.Max = cmp.Or(cfg.Max, max(200, cfg.Min))
	cfg.Initial = cmp.Or(cfg.Initial, min(max(20, cfg.Min), cfg.Max))
	cfg.Tolerance = cmp.Or(cfg.Tolerance, 1.5)
	var faults []error
	if cfg.Min < 1 || cfg.Initial < cfg.Min || cfg.Max < cfg.Initial {
		faults = append(faults, fmt.Errorf("ratelimit: AdaptiveConfig: Min %d, Initial %d and Max %d must rise from 1", cfg.Min, cfg.Initial, cfg.Max))
	}
	if !(cfg.Tolerance >= 1) { // also NaN
		faults = append(faults, fmt.Errorf("ratelimit: AdaptiveConfig.Tolerance: %v must be at least 1", cfg.Tolerance))
	}
	if cfg.Headroom < 0 {
		faults = append(faults, fmt.Errorf("ratelimit: AdaptiveConfig.Headroom: %d is negative", cfg.Headroom))
	}
	if err := fault.Join(append(faults, cfg.Wait.complete())...); err != nil {
		return nil, err
	}
	if cfg.ErrorHandler == nil {
		cfg.ErrorHandler = apierror.Abort
	}
	return &Adaptive{cfg: cfg, gradient: newGradient(&cfg), line: newLine()}, nil
}

// Limit returns the present concurrency limit.
func (a *Adaptive) Limit() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return int(a.gradient.limit)
}

// Inflight returns the number of requests in flight.
func (a *Adaptive) Inflight() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.inflight
}

// Middleware returns the handler that lets requests in or refuses them.
func (a *Adaptive) Middleware() gin.HandlerFunc {
	return func(c *gin.Context) {
		var isFirst bool
		if c.Request, isFirst = exchange.Enter(c.Request, a); !isFirst {
			return
		}
		defer exchange.Leave(c.Request, a)
		if err := a.enter(c); err != nil {
			c.Abort() // whatever ErrorHandler does
			a.notify(c.Request.Context(), Event{Kind: Refused, Limit: "concurrency", Wait: time.Second, Err: err})
			a.cfg.ErrorHandler(c, err)
			return
		}
		inner := c.Writer
		w := &firstByte{ResponseWriter: inner, adaptive: a, start: time.Now()}
		c.Writer = w
		defer func() { // also when a handler panics
			if c.Writer == w { // else another layer replaced it: see stream.Streams
				c.Writer = inner
			}
			a.leave(w.seen)
		}()
		c.Next()
	}
}

// enter takes a slot, at once or after a wait.
func (a *Adaptive) enter(c *gin.Context) error {
	w, err := a.place(c)
	if w == nil {
		return err
	}
	timer := time.NewTimer(time.Until(w.deadline))
	defer timer.Stop()
	ctx := c.Request.Context()
	select {
	case <-w.done:
		return w.err
	case <-timer.C:
		err = overloaded()
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.line.has(w) {
		a.line.leave(w)
		return err
	}
	if w.err == nil && ctx.Err() != nil { // it got a slot at the same moment
		a.release(false)
		return err
	}
	return w.err
}

// place takes a slot, or returns a waiter in the line for one.
func (a *Adaptive) place(c *gin.Context) (*waiter, error) {
	if a.free() {
		return nil, nil //nolint:nilnil // no wait and no error
	}
	if a.cfg.Wait.Max == 0 {
		return nil, overloaded()
	}
	w, err := a.cfg.Wait.waiter(c, time.Now()) // outside the lock, as it calls user functions
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	at := a.line.place(&w)
	if len(a.line.waiters) >= a.cfg.Wait.Size {
		if at == len(a.line.waiters) {
			return nil, overloaded()
		}
		last := a.line.last()
		last.err = overloaded()
		a.line.leave(last)
		close(last.done)
	}
	a.line.insert(&w, at)
	a.admit() // a slot may be free by now
	return &w, nil
}

// free takes a slot if one is free and the line is empty.
func (a *Adaptive) free() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.inflight >= a.gradient.slots() || len(a.line.waiters) > 0 {
		return false
	}
	a.take()
	return true
}

// leave releases a slot.
func (a *Adaptive) leave(began bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.release(began)
}

// take takes a slot. The caller holds mu, here and below.
func (a *Adaptive) take() {
	a.inflight++
	a.silent++
}

// release releases the slot of a request, which began its response or not.
func (a *Adaptive) release(began bool) {
	a.inflight--
	a.gradient.ended++
	if !began {
		a.silent--
	}
	a.admit()
}

// began records the first byte of a response after d; 0: it is not a sample.
func (a *Adaptive) began(d time.Duration) {
	a.mu.Lock()
	a.silent--
	if d == 0 {
		a.mu.Unlock()
		return
	}
	before := int(a.gradient.limit)
	a.gradient.sample(d, a.inflight, a.silent)
	now := int(a.gradient.limit)
	a.admit()
	a.mu.Unlock()
	if now != before {
		a.notify(context.Background(), Event{Kind: Changed, Concurrency: now})
	}
}

// admit gives free slots to waiters.
func (a *Adaptive) admit() {
	for len(a.line.waiters) > 0 && a.inflight < a.gradient.slots() {
		w := a.line.waiters[0]
		a.line.serve(w)
		a.take()
		close(w.done)
	}
}

func (a *Adaptive) notify(ctx context.Context, e Event) {
	if a.cfg.OnEvent != nil {
		a.cfg.OnEvent(ctx, e)
	}
}

func overloaded() error {
	return &apierror.Error{Status: http.StatusServiceUnavailable, Code: "overloaded", Message: "Too many requests are in flight.", RetryAfter: time.Second, Err: ErrOverloaded}
}
