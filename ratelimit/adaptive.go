package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
)

// ErrOverloaded: as many requests are under way as go well together. Answered
// with 503.
var ErrOverloaded = errors.New("ratelimit: too many requests under way")

// AdaptiveConfig describes an Adaptive. Every field has a default.
type AdaptiveConfig struct {
	// Initial, Min and Max are the limit to begin with and its bounds. Defaults 20,
	// 4 and 200; a bound that is given moves Initial between. Before a server that
	// serves much less than 20 at once, give Initial, or the first seconds of an
	// overload are slow.
	Initial, Min, Max int
	// Tolerance is how much slower than usual a first token may come before the
	// limit falls. Default 1.5; at least 1.
	Tolerance float64
	// Headroom is how many requests more than go well are let in, to find out whether
	// they do. Default a tenth of the limit, at least 1.
	Headroom int
	// All also counts the first byte of answers that are no event streams. It comes
	// when the whole answer is made, so that its time says more of its length than of
	// the load; use it where answers are alike. Default false.
	All bool
	// Wait lets requests wait for a place. Default: they are refused at once.
	Wait Wait
	// ErrorHandler answers a refused request. Default [apierror.Abort].
	ErrorHandler func(*gin.Context, error)
	// OnEvent is told of refusals and of changes. Optional.
	OnEvent func(context.Context, Event)
}

// Adaptive limits how many requests are under way at once, by how fast the first
// token comes: as long as it comes as fast as usual the limit rises, and when it
// comes late the limit falls. A request counts until its handler returns, a stream
// until its end. The algorithm is after Gradient2 of github.com/Netflix/concurrency-limits,
// on the time to the first byte of the body; in a long overload a part of the requests
// is held back now and then, for a moment, to measure how fast first tokens come
// when they need not wait. It is safe for concurrent use.
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
	cfg.Min = orDefault(cfg.Min, min(4, orDefault(cfg.Max, 4), orDefault(cfg.Initial, 4)))
	cfg.Max = orDefault(cfg.Max, max(200, cfg.Min))
	cfg.Initial = orDefault(cfg.Initial, min(max(20, cfg.Min), cfg.Max))
	cfg.Tolerance = orDefault(cfg.Tolerance, 1.5)
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
	if err := errors.Join(append(faults, cfg.Wait.complete())...); err != nil {
		return nil, err
	}
	if cfg.ErrorHandler == nil {
		cfg.ErrorHandler = apierror.Abort
	}
	return &Adaptive{cfg: cfg, gradient: newGradient(&cfg), line: newLine()}, nil
}

// Limit is how many requests may be under way now.
func (a *Adaptive) Limit() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return int(a.gradient.limit)
}

// Inflight is how many requests are under way.
func (a *Adaptive) Inflight() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.inflight
}

// Middleware returns the handler that lets requests in, or refuses them.
func (a *Adaptive) Middleware() gin.HandlerFunc {
	return func(c *gin.Context) {
		if err := a.enter(c); err != nil {
			c.Abort() // whatever the handler does
			a.notify(c.Request.Context(), Event{Kind: Refused, Limit: "concurrency", Wait: time.Second, Err: err})
			a.cfg.ErrorHandler(c, err)
			return
		}
		inner := c.Writer
		w := &firstByte{ResponseWriter: inner, adaptive: a, start: time.Now()}
		c.Writer = w
		defer func() { // also when a handler panics
			if c.Writer == w { // else another one must stay: see stream.Streams
				c.Writer = inner
			}
			a.leave(w.seen)
		}()
		c.Next()
	}
}

// enter takes a place, at once or after a wait.
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
	if w.err == nil && ctx.Err() != nil { // it got a place in this very moment
		a.release(false)
		return err
	}
	return w.err
}

// place takes a place, or returns a waiter that stands in line for one.
func (a *Adaptive) place(c *gin.Context) (*waiter, error) {
	if a.free() {
		return nil, nil //nolint:nilnil // nobody waits, and no fault
	}
	if a.cfg.Wait.Max == 0 {
		return nil, overloaded()
	}
	w, err := a.cfg.Wait.waiter(c, time.Now()) // outside the lock: it calls what others wrote
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
	a.admit() // a place may be free by now
	return &w, nil
}

// free takes a place if there is one and nobody waits for it.
func (a *Adaptive) free() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.inflight >= a.gradient.places() || len(a.line.waiters) > 0 {
		return false
	}
	a.take()
	return true
}

// leave frees a place.
func (a *Adaptive) leave(began bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.release(began)
}

// take takes a place. The caller holds mu, here and below.
func (a *Adaptive) take() {
	a.inflight++
	a.silent++
}

// release frees the place of a request that had its first byte or not.
func (a *Adaptive) release(began bool) {
	a.inflight--
	a.gradient.ended++
	if !began {
		a.silent--
	}
	a.admit()
}

// began tells that an answer had its first byte, after d; 0: it teaches nothing.
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

// admit gives free places to those who wait.
func (a *Adaptive) admit() {
	for len(a.line.waiters) > 0 && a.inflight < a.gradient.places() {
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
	return &apierror.Error{Status: http.StatusServiceUnavailable, Code: "overloaded", Message: "Too many requests are under way.", RetryAfter: time.Second, Err: ErrOverloaded}
}
