package ratelimit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
)

// Wait configures the queue of requests over a rate or over the concurrency limit.
type Wait struct {
	// Max is the longest wait. A request that would wait longer is refused at once.
	// Default: 0, no queue.
	Max time.Duration
	// Size is the number of requests that may wait in all. When it is reached, the request
	// that would be served last is refused. Default: 1000.
	Size int
	// Priority returns the priority of a request; a higher one is served first. It must
	// not trust the client. Default: equal priorities.
	Priority func(*gin.Context) int
	// Tenant returns the tenant for fair queuing: within a priority, a tenant with many
	// waiting requests is served as often as one with few. An error refuses the request.
	// Default: first come, first served.
	Tenant func(*gin.Context) (string, error)
}

// complete checks w and sets its defaults.
func (w *Wait) complete() error {
	if w.Max < 0 || w.Size < 0 {
		return errors.New("ratelimit: Wait.Max and Wait.Size must not be negative")
	}
	w.Size = cmp.Or(w.Size, 1000)
	return nil
}

// minPause is the least time between two calls of the store for a line.
const minPause = time.Millisecond

// queue is the lines of waiting requests, one for each bucket that refused. It is safe for
// concurrent use.
type queue struct {
	cfg   Wait
	store Store

	mu    sync.Mutex
	lines map[id]*bucketLine
	size  int // of all lines
}

// bucketLine is the line of a bucket, with the time at which its first waiter may be served.
type bucketLine struct {
	line
	rate float64
	at   time.Time
	wake chan struct{} // signals that the line is empty
	all  map[*waiter]*turn
}

// turn is a waiter in a bucket's line with its charges. The queue's lock guards it until the
// waiter is done.
type turn struct {
	waiter
	charges []Charge
	at      int // index of the charge that it waits for
	line    *bucketLine
	moved   bool // another bucket refused it
}

func newQueue(cfg Wait, store Store) *queue {
	return &queue{cfg: cfg, store: store, lines: map[id]*bucketLine{}}
}

// take takes the charges at once if no request waits for the buckets, else in its turn. It
// records a refusal in the charges. Requests do not wait for a budget.
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

// busy returns the index of a charge with a line at its bucket, or -1.
func (q *queue) busy(charges []Charge) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.IndexFunc(charges, func(c Charge) bool { return q.lines[c.id()] != nil })
}

// wait waits in the line of one bucket after the other, until all charges are granted.
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

// join adds t to the line of the bucket that refused it. It returns false when the wait would
// be too long, and records the wait in the refusal.
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

// makeRoom refuses the request that would be served last in all lines, unless that is the
// newcomer. The caller holds mu.
func (q *queue) makeRoom(newcomer *turn, expected time.Duration) bool {
	worst, wait := newcomer, expected
	for _, ln := range q.lines {
		if len(ln.waiters) == 0 {
			continue
		}
		last := ln.all[ln.last()]
		after := ln.expected(len(ln.waiters) - 1)
		if last.line == newcomer.line && order(&last.waiter, &newcomer.waiter) > 0 {
			after = max(after, expected+1) // the newcomer is before it
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

// end ends the wait of t after its removal from the line. The caller holds mu.
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

// leave ends the wait of t early. If t was served at the same moment and the client is gone,
// leave returns the tokens.
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
		_ = q.store.Settle(ctx, back) // at worst the tokens are lost (closed)
	}
}

// serve serves a line until it is empty. It is the line's only goroutine.
func (q *queue) serve(key id, ln *bucketLine) {
	ctx := context.Background()
	for {
		t, charges := q.first(key, ln)
		if t == nil {
			return
		}
		err := q.callStore(ctx, charges)
		refused := refusal(charges)
		switch there := q.served(t, charges, err, refused); {
		case !there && err == nil && refused < 0:
			q.putBack(ctx, charges) // t left meanwhile
		case there && err == nil && refused == t.at:
			ln.pause(max(charges[refused].Wait, minPause))
		}
	}
}

// callStore calls Take and recovers from a panic, as no request's handler is here to do so.
func (q *queue) callStore(ctx context.Context, charges []Charge) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: the store panicked: %v", ErrUnavailable, p)
		}
	}()
	return q.store.Take(ctx, charges)
}

// first returns the next turn with a copy of its charges. An empty line is removed.
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

// served passes the result to t, unless the line's own bucket refused: then t continues to
// wait. It reports whether t was still in the line.
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

// expected returns the wait behind a number of waiters.
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

// pause waits for d, or until the line is empty.
func (ln *bucketLine) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ln.wake:
	}
}
