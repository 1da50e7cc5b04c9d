package ratelimit

import (
	"context"
	"errors"
	"fmt"
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

// complete checks w and fills in its defaults.
func (w *Wait) complete() error {
	if w.Max < 0 || w.Size < 0 {
		return errors.New("ratelimit: Wait.Max and Wait.Size must not be negative")
	}
	w.Size = orDefault(w.Size, 1000)
	return nil
}

// leastPause keeps a line from asking again and again.
const leastPause = time.Millisecond

// queue holds the lines of those who wait, one for each bucket that refused. It
// is safe for concurrent use.
type queue struct {
	cfg   Wait
	store Store

	mu    sync.Mutex
	lines map[id]*bucketLine
	size  int // of all lines
}

// bucketLine is the line for a bucket, and when its first may be served.
type bucketLine struct {
	line
	rate float64
	at   time.Time
	wake chan struct{} // when nobody is left
	all  map[*waiter]*turn
}

// turn is what a waiter in a bucket's line waits for. The queue's lock guards it
// until the waiter is done.
type turn struct {
	waiter
	charges []Charge
	at      int // the charge whose bucket it waits for
	line    *bucketLine
	moved   bool // another bucket refuses it now
}

func newQueue(cfg Wait, store Store) *queue {
	return &queue{cfg: cfg, store: store, lines: map[id]*bucketLine{}}
}

// take takes at once if nobody waits for any of the buckets, else in its turn. A
// refusal stands in the charges. Nobody waits for a budget.
func (q *queue) take(c *gin.Context, charges []Charge) (waited time.Duration, err error) {
	start, ctx := time.Now(), c.Request.Context()
	at := q.busy(charges)
	if at < 0 {
		if err := q.store.Take(ctx, charges); err != nil {
			return 0, err
		}
		if at = refusal(charges); at < 0 || charges[at].Rate == 0 {
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
	return slices.IndexFunc(charges, func(c Charge) bool { return q.lines[c.id()] != nil })
}

// wait stands in the line of one bucket after the other, until all pay.
func (q *queue) wait(ctx context.Context, w waiter, charges []Charge, at int) error {
	timer := time.NewTimer(time.Until(w.deadline))
	defer timer.Stop()
	for {
		w.done = make(chan struct{})
		t := &turn{waiter: w, charges: slices.Clone(charges), at: at}
		if !q.join(t) { //nolint:contextcheck // a line serves many requests
			copy(charges, t.charges)
			return nil
		}
		select {
		case <-t.done:
		case <-timer.C:
			q.leave(ctx, t, false)
		case <-ctx.Done():
			q.leave(ctx, t, true)
			return context.Cause(ctx)
		}
		copy(charges, t.charges)
		if t.err != nil || !t.moved {
			return t.err
		}
		if at = refusal(charges); at < 0 || charges[at].Rate == 0 {
			return nil
		}
	}
}

// join puts t into the line of the bucket that refused it. It reports false when
// the wait would be too long; then the refusal says how long.
func (q *queue) join(t *turn) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	c := &t.charges[t.at]
	key := c.id()
	ln, ok := q.lines[key]
	if !ok {
		ln = &bucketLine{line: newLine(), rate: c.Rate, at: time.Now().Add(c.Wait), wake: make(chan struct{}, 1), all: map[*waiter]*turn{}}
	}
	t.line = ln
	place := ln.place(&t.waiter)
	expected := ln.expected(place)
	if !time.Now().Add(expected).Before(t.deadline) || q.size >= q.cfg.Size && !q.makeRoom(t, expected) {
		c.refuse(expected)
		return false
	}
	ln.insert(&t.waiter, place)
	ln.all[&t.waiter] = t
	q.size++
	if !ok {
		q.lines[key] = ln
		go q.serve(key, ln)
	}
	return true
}

// makeRoom refuses the one that would be served last of all lines, if that is not
// the newcomer. The caller holds mu.
func (q *queue) makeRoom(newcomer *turn, expected time.Duration) bool {
	worst, wait := newcomer, expected
	for _, ln := range q.lines {
		if len(ln.waiters) == 0 {
			continue
		}
		last := ln.all[ln.last()]
		after := ln.expected(len(ln.waiters) - 1)
		if last.line == newcomer.line && order(&last.waiter, &newcomer.waiter) > 0 {
			after = max(after, expected+1) // the newcomer moves it back
		}
		if last.priority < worst.priority || last.priority == worst.priority && after > wait {
			worst, wait = last, after
		}
	}
	if worst == newcomer {
		return false
	}
	worst.charges[worst.at].refuse(wait)
	worst.line.leave(&worst.waiter)
	q.end(worst)
	return true
}

// end lets t, which is out of its line, go on. The caller holds mu.
func (q *queue) end(t *turn) {
	delete(t.line.all, &t.waiter)
	q.size--
	close(t.done)
	if len(t.line.waiters) == 0 {
		select {
		case t.line.wake <- struct{}{}:
		default:
		}
	}
}

// leave is called when t waits no longer. It may have been served at this very
// moment: then a client that is gone gives back what it got.
func (q *queue) leave(ctx context.Context, t *turn, gone bool) {
	q.mu.Lock()
	place := slices.Index(t.line.waiters, &t.waiter)
	if place >= 0 {
		t.charges[t.at].refuse(t.line.expected(place))
		t.line.leave(&t.waiter)
		q.end(t)
	}
	q.mu.Unlock()
	if place < 0 && gone {
		q.putBack(context.WithoutCancel(ctx), t.charges)
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
func (q *queue) serve(key id, ln *bucketLine) {
	ctx := context.Background()
	for {
		t, charges := q.first(key, ln)
		if t == nil {
			return
		}
		err := q.ask(ctx, charges)
		refused := refusal(charges)
		switch there := q.served(t, charges, err, refused); {
		case !there && err == nil && refused < 0:
			q.putBack(ctx, charges) // it left meanwhile
		case there && err == nil && refused == t.at:
			ln.pause(max(charges[refused].Wait, leastPause))
		}
	}
}

// ask is Take, and survives a store that panics: no request's handler is here to
// recover.
func (q *queue) ask(ctx context.Context, charges []Charge) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: the store panicked: %v", ErrUnavailable, p)
		}
	}()
	return q.store.Take(ctx, charges)
}

// first is the turn to serve next, and what it wants. Without any the line ends.
func (q *queue) first(key id, ln *bucketLine) (*turn, []Charge) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(ln.waiters) == 0 {
		delete(q.lines, key)
		return nil, nil
	}
	t := ln.all[ln.waiters[0]]
	return t, slices.Clone(t.charges)
}

// served tells t how it went, unless the line's own bucket refused: then it goes on
// waiting. It reports whether t was still there.
func (q *queue) served(t *turn, charges []Charge, err error, refused int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !t.line.has(&t.waiter) {
		return false
	}
	if err == nil && refused == t.at {
		t.line.at = time.Now().Add(charges[refused].Wait)
		return true
	}
	t.charges, t.err, t.moved = charges, err, refused >= 0
	t.line.serve(&t.waiter)
	q.end(t)
	return true
}

// expected is the wait of one with so many ahead of it.
func (ln *bucketLine) expected(ahead int) time.Duration {
	wait := max(time.Until(ln.at), 0)
	if ahead == 0 {
		return wait
	}
	if more := seconds(float64(ahead) / ln.rate); more < Never-wait {
		return wait + more
	}
	return Never
}

// pause waits until the first may be served, or nobody is left.
func (ln *bucketLine) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ln.wake:
	}
}
