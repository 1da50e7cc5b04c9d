package cache

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/cache/internal/flight"
	"github.com/ginfer/ginfer/internal/body"
	"github.com/ginfer/ginfer/internal/ginctx"
)

// backgroundKey marks the context of a refresh: no client waits for it.
type backgroundKey struct{}

func isBackground(g *gin.Context) bool {
	return ginctx.Value(g.Request.Context(), backgroundKey{}) != nil
}

// refreshEarly reports whether to refresh an entry that is still fresh, so that requests
// do not all find it stale at once. The probability grows with the time that the entry
// takes to fetch and as its end approaches (Vattani et al., Optimal Probabilistic Cache
// Stampede Prevention, 2015).
func refreshEarly(cfg *Config, e *Entry, now time.Time) bool {
	if cfg.Beta <= 0 || e.FetchDuration <= 0 || cfg.Refreshes < 0 {
		return false
	}
	left := e.FreshUntil.Sub(now)
	if left > 32*time.Duration(float64(e.FetchDuration)*cfg.Beta) { // the probability is nil
		return false
	}
	gap := float64(e.FetchDuration) * cfg.Beta * -math.Log(1-rand.Float64()) //nolint:gosec // no secret
	return gap >= float64(left)
}

// refresh fetches a response in the background. There is one refresh at a time for a key,
// and a bounded number of all.
func (x *exchange) refresh(e *Entry) {
	if x.refreshing.Add(1) > int64(x.cfg.Refreshes) {
		x.refreshing.Add(-1)
		return
	}
	f, ok := x.flights.Pin(x.ctx, x.key, shared{mark: x.mark})
	if !ok {
		x.refreshing.Add(-1)
		return
	}
	handler := x.cfg.Background
	if handler == nil {
		handler = x.g.Handler()
	}
	y := &exchange{Cache: x.Cache, request: x.request, policy: x.policy, known: x.known}
	y.options, y.status = x.options, Status{Policy: x.status.Policy, Key: x.status.Key}
	y.g = x.g.Copy()
	y.incoming = x.incoming.Clone(f.Context())
	if again := body.Replay(x.incoming); again != nil {
		y.incoming.Body, _ = again() // it is buffered
	}
	l := &lead{exchange: y, flight: f, stale: e}
	x.background.Go(func() { l.fetch(handler) })
}

// fetch produces the response of a refresh.
func (l *lead) fetch(handler gin.HandlerFunc) {
	defer l.refreshing.Add(-1)
	ctx, cancel := context.WithTimeout(l.flight.Context(), l.cfg.RefreshTimeout)
	defer cancel()
	defer l.flight.Cancel()
	defer func() {
		l.flights.Remove(l.flight)
		l.resolveFailed()
	}()
	l.inner = statusContext{context.WithValue(ctx, backgroundKey{}, true), &l.status}
	l.ctx, l.start = &l.inner, time.Now()
	l.forward(l.stale)
	l.rec = l.newRecorder()
	l.g.Writer = l.rec
	l.g.Request = l.policy.outgoing(&l.request, l.stale).WithContext(l.upstream(l.ctx))
	before := len(l.g.Errors)
	value := recovered(handler, l.g)
	err := l.rec.Close(value != nil)
	if value != nil {
		l.failed(context.WithoutCancel(l.ctx), fmt.Errorf("%w in a refresh: %v", flight.ErrPanic, value))
		return
	}
	if err == nil {
		err = l.ctx.Err()
	}
	if !l.rec.Replaced() {
		l.conclude(err, len(l.g.Errors) > before)
	}
	event := l.event(Refreshed)
	event.Status, event.FetchDuration, event.Err = l.rec.Status(), time.Since(l.start), err
	l.notify(l.ctx, event)
}

// recovered calls a handler and returns its panic, which would end the process.
func recovered(handler gin.HandlerFunc, g *gin.Context) (value any) {
	defer func() { value = recover() }()
	handler(g)
	return nil
}
