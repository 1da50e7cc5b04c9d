package ratelimit

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
)

// Wait lets requests that a rate refuses wait for their turn.
type Wait struct {
	// Max is how long a request may wait. One that would have to wait longer is
	// refused at once. Default 0: nobody waits.
	Max time.Duration
	// Size is how many may wait in all. When it is reached, the one that would be
	// served last makes room. Default 1000.
	Size int
	// Priority says who is served first: the higher. Default: all alike. It must not
	// believe what a client says of itself.
	Priority func(*gin.Context) int
	// Tenant says between whom turns are shared: of the same priority, a tenant with
	// many waiting requests is served as often as one with few. An error refuses the
	// request. Default: first come, first served.
	Tenant func(*gin.Context) (string, error)
}

func (w *Wait) check() error {
	if w.Max < 0 || w.Size < 0 {
		return errors.New("ratelimit: Wait.Max and Wait.Size must not be negative")
	}
	return nil
}

// queue holds the lines of those who wait, one for each bucket that refused. It
// is safe for concurrent use.
type queue struct {
	cfg   Wait
	store Store

	mu    sync.Mutex
	lines map[id]*line
	size  int // of all lines
}

func newQueue(cfg Wait, store Store) *queue {
	cfg.Size = orDefault(cfg.Size, 1000)
	return &queue{cfg: cfg, store: store, lines: map[id]*line{}}
}

// take takes at once if nobody waits for any of the buckets, else in its turn. A
// refusal stands in the charges.
func (q *queue) take(c *gin.Context, charges []Charge) (waited time.Duration, err error) {
	start, ctx := time.Now(), c.Request.Context()
	at := q.busy(charges)
	if at < 0 {
		if err := q.store.Take(ctx, charges); err != nil {
			return 0, err
		}
		one := call{charges: charges}
		if at = one.refusal(); at < 0 {
			return 0, nil
		}
	}
	w, err := q.cfg.waiter(c, start)
	if err != nil {
		return 0, err
	}
	err = q.wait(ctx, w, charges, at)
	return time.Since(start), err
}

// busy is a charge for whose bucket somebody waits already, or -1.
func (q *queue) busy(charges []Charge) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range charges {
		if _, ok := q.lines[charges[i].id()]; ok {
			return i
		}
	}
	return -1
}

// wait stands in the line of one bucket after the other, until all pay.
func (q *queue) wait(ctx context.Context, w *waiter, charges []Charge, at int) error {
	timer := time.NewTimer(time.Until(w.deadline))
	defer timer.Stop()
	for {
		w = w.again(charges, at)
		if !q.join(w) { //nolint:contextcheck // a line serves many requests
			copy(charges, w.charges)
			return nil
		}
		select {
		case <-w.done:
		case <-timer.C:
			q.leave(ctx, w, false)
		case <-ctx.Done():
			q.leave(ctx, w, true)
			return context.Cause(ctx)
		}
		copy(charges, w.charges)
		if w.err != nil || !w.moved {
			return w.err
		}
		one := call{charges: charges}
		if at = one.refusal(); at < 0 {
			return nil
		}
	}
}

// join puts w into the line of the bucket that refused it. It reports false when
// the wait would be too long; then the refusal says how long.
func (q *queue) join(w *waiter) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	c := &w.charges[w.at]
	key := c.id()
	ln, ok := q.lines[key]
	if !ok {
		ln = newLine(c)
	}
	w.line = ln
	ahead := ln.place(w)
	expected := ln.expected(ahead)
	if !time.Now().Add(expected).Before(w.deadline) {
		c.refuse(expected)
		return false
	}
	if q.size >= q.cfg.Size {
		last := ln.last()
		if last == nil || ahead == len(ln.waiters) {
			c.refuse(expected)
			return false
		}
		last.charges[last.at].refuse(ln.expected(len(ln.waiters)))
		q.end(last)
	}
	ln.insert(w, ahead)
	q.size++
	if !ok {
		q.lines[key] = ln
		go q.serve(key, ln)
	}
	return true
}

// end takes w out of its line and lets it go on. The caller holds mu.
func (q *queue) end(w *waiter) {
	w.line.remove(w)
	q.size--
	close(w.done)
}

// leave is called when w waits no longer. It may have been served at this very
// moment: then a client that is gone gives back what it got.
func (q *queue) leave(ctx context.Context, w *waiter, gone bool) {
	q.mu.Lock()
	waits := w.line.has(w)
	if waits {
		w.charges[w.at].refuse(w.line.expected(0))
		q.end(w)
	}
	q.mu.Unlock()
	if !waits && gone {
		q.putBack(context.WithoutCancel(ctx), w.charges)
	}
}

func (q *queue) putBack(ctx context.Context, charges []Charge) {
	back := make([]Settlement, 0, len(charges))
	for i := range charges {
		if c := &charges[i]; c.Granted > 0 {
			back = append(back, Settlement{Bucket: c.Bucket, Spent: -c.Granted, local: c.local})
		}
	}
	if len(back) > 0 {
		_ = q.store.Settle(ctx, back) // lost at worst: it was not spent (closed)
	}
}

// serve serves a line until nobody is left. It is the line's only goroutine.
func (q *queue) serve(key id, ln *line) {
	ctx := context.Background()
	for {
		w, charges := q.first(key, ln)
		if w == nil {
			return
		}
		err := q.store.Take(ctx, charges)
		one := call{charges: charges}
		refused := one.refusal()
		switch there := q.served(w, charges, err, refused); {
		case !there && err == nil && refused < 0:
			q.putBack(ctx, charges) // it left meanwhile
		case there && err == nil && refused == w.at:
			ln.pause(charges[refused].Wait)
		}
	}
}

// first is the waiter to serve next, and what it wants. Without any the line ends.
func (q *queue) first(key id, ln *line) (*waiter, []Charge) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(ln.waiters) == 0 {
		delete(q.lines, key)
		return nil, nil
	}
	return ln.waiters[0], slices.Clone(ln.waiters[0].charges)
}

// served tells w how it went, unless the line's own bucket refused: then it goes on
// waiting. It reports whether w was still there.
func (q *queue) served(w *waiter, charges []Charge, err error, refused int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !w.line.has(w) {
		return false
	}
	if err == nil && refused == w.at {
		w.line.next = time.Now().Add(charges[refused].Wait)
		return true
	}
	w.charges, w.err, w.moved = charges, err, refused >= 0
	w.line.served(w)
	q.end(w)
	return true
}
