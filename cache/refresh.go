package cache

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/internal/body"
)

// backgroundKey marks the context of a refresh: no client waits for it.
type backgroundKey struct{}

func isBackground(g *gin.Context) bool { return g.Request.Context().Value(backgroundKey{}) != nil }

// early reports whether a fresh entry should be refreshed already, so that requests do
// not all find it stale at once: at chance, and the more likely the nearer its end is and
// the longer it takes to make (Vattani et al., Optimal Probabilistic Cache Stampede
// Prevention, 2015).
func (c *Cache) early(e *Entry, now time.Time) bool {
	if c.cfg.Beta <= 0 || e.FetchDuration <= 0 || c.cfg.Refreshes < 0 {
		return false
	}
	left := e.FreshUntil.Sub(now)
	if left > 32*time.Duration(float64(e.FetchDuration)*c.cfg.Beta) { // the chance is nil
		return false
	}
	gap := float64(e.FetchDuration) * c.cfg.Beta * -math.Log(1-rand.Float64()) //nolint:gosec // no secret
	return gap >= float64(left)
}

// refresh fetches an answer anew, beside the request and without a client that waits for
// it. There is one at a time for a key, and a bounded number of all.
func (x *exchange) refresh(e *Entry) {
	if x.refreshing.Add(1) > int64(x.cfg.Refreshes) {
		x.refreshing.Add(-1)
		return
	}
	y := *x
	y.status, y.w = Status{Policy: x.status.Policy, Key: x.key}, nil
	f, ok := x.flights.pinned(&y)
	if !ok {
		x.refreshing.Add(-1)
		return
	}
	handler := x.cfg.Background
	if handler == nil {
		handler = x.g.Handler()
	}
	y.g = x.g.Copy()
	y.req = x.req.Clone(f.ctx)
	if again := body.Replay(x.req); again != nil {
		y.req.Body, _ = again() // it is held
	}
	x.background.add()
	go y.fetch(f, e, handler)
}

// fetch makes the answer of a refresh.
func (x *exchange) fetch(f *flight, stale *Entry, handler gin.HandlerFunc) {
	defer x.background.done()
	defer x.refreshing.Add(-1)
	ctx, cancel := context.WithTimeout(f.ctx, x.cfg.RefreshTimeout)
	defer cancel()
	defer f.cancel(nil)
	defer func() {
		x.flights.remove(f)
		x.standIn(f, stale, failed)
	}()
	x.inner = statusContext{context.WithValue(ctx, backgroundKey{}, true), &x.status}
	ctx = &x.inner
	x.client = ctx
	x.start = time.Now()
	x.forward(stale)
	rec := newRecorder(x, f, nil, stale)
	x.g.Writer = rec
	x.g.Request = x.policy.outgoing(x, stale).WithContext(x.inside(ctx, f))
	before := len(x.g.Errors)
	value := call(handler, x.g)
	err := rec.seal(value != nil)
	if value != nil {
		x.failed(context.WithoutCancel(ctx), fmt.Errorf("%w in a refresh: %v", errPanic, value))
		return
	}
	if err == nil {
		err = ctx.Err()
	}
	if !rec.swallowed {
		x.conclude(f, rec, err, len(x.g.Errors) > before)
	}
	event := x.event(Refreshed)
	event.Status, event.FetchDuration, event.Err = rec.status, time.Since(x.start), err
	x.tell(ctx, event)
}

// call runs a handler whose panic would end the process.
func call(handler gin.HandlerFunc, g *gin.Context) (value any) {
	defer func() { value = recover() }()
	handler(g)
	return nil
}

// work counts what goes on beside requests.
type work struct {
	mu   sync.Mutex
	n    int
	idle chan struct{}
}

func (w *work) add() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n++
}

func (w *work) done() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.n--; w.n == 0 && w.idle != nil {
		close(w.idle)
		w.idle = nil
	}
}

func (w *work) wait(ctx context.Context) error {
	w.mu.Lock()
	if w.n == 0 {
		w.mu.Unlock()
		return nil
	}
	if w.idle == nil {
		w.idle = make(chan struct{})
	}
	idle := w.idle
	w.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return errors.Join(errors.New("cache: refreshes are under way"), ctx.Err())
	}
}
