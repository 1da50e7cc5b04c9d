package ratelimit

import (
	"cmp"
	"slices"
	"time"

	"github.com/gin-gonic/gin"
)

// waiter is a request in a line.
type waiter struct {
	at       int // the charge whose bucket it waits for
	tenant   string
	priority int
	deadline time.Time

	// The queue's lock guards the rest until done is closed.
	charges []Charge
	line    *line
	tag     float64
	number  uint64
	done    chan struct{}
	moved   bool // another bucket refuses it now
	err     error
}

// waiter returns the request as one that may wait.
func (w *Wait) waiter(c *gin.Context, now time.Time) (*waiter, error) {
	out := &waiter{deadline: now.Add(w.Max), done: make(chan struct{})}
	if w.Priority != nil {
		out.priority = w.Priority(c)
	}
	if w.Tenant != nil {
		tenant, err := w.Tenant(c)
		if err != nil {
			return nil, err
		}
		out.tenant = tenant
	}
	return out, nil
}

// again returns w as one that waits for another bucket.
func (w *waiter) again(charges []Charge, at int) *waiter {
	return &waiter{charges: slices.Clone(charges), at: at, tenant: w.tenant, priority: w.priority, deadline: w.deadline, done: make(chan struct{})}
}

// line is who waits for one bucket, in the order of service: by priority, then
// by start-time fair queuing (Goyal, Vin, Cheng: "Start-time Fair Queuing",
// SIGCOMM 1996) between tenants, then by arrival. The queue's lock guards it.
type line struct {
	rate    float64
	waiters []*waiter
	next    time.Time // when the first may be served
	wake    chan struct{}

	numbers uint64
	now     float64            // virtual time: the tag served last
	tags    map[string]float64 // next tag of a tenant
}

func newLine(c *Charge) *line {
	return &line{rate: c.Rate, next: time.Now().Add(c.Wait), wake: make(chan struct{}, 1), tags: map[string]float64{}}
}

// place gives w its tag and returns its place.
func (ln *line) place(w *waiter) int {
	ln.numbers++
	w.number = ln.numbers
	w.tag = max(ln.now, ln.tags[w.tenant])
	place, _ := slices.BinarySearchFunc(ln.waiters, w, order)
	return place
}

func order(a, b *waiter) int {
	return cmp.Or(cmp.Compare(b.priority, a.priority), cmp.Compare(a.tag, b.tag), cmp.Compare(a.number, b.number))
}

func (ln *line) insert(w *waiter, place int) {
	if len(ln.tags) > 2*len(ln.waiters)+16 { // those of tenants that are gone
		for tenant, tag := range ln.tags {
			if tag <= ln.now {
				delete(ln.tags, tenant)
			}
		}
	}
	ln.tags[w.tenant] = w.tag + 1
	ln.waiters = slices.Insert(ln.waiters, place, w)
}

// expected is the wait of one with so many ahead of it.
func (ln *line) expected(ahead int) time.Duration {
	wait := max(time.Until(ln.next), 0)
	if ahead == 0 {
		return wait
	}
	if ln.rate <= 0 {
		return Never
	}
	if more := seconds(float64(ahead) / ln.rate); more < Never-wait {
		return wait + more
	}
	return Never
}

func (ln *line) last() *waiter {
	if len(ln.waiters) == 0 {
		return nil
	}
	return ln.waiters[len(ln.waiters)-1]
}

func (ln *line) has(w *waiter) bool { return slices.Contains(ln.waiters, w) }

func (ln *line) remove(w *waiter) {
	if i := slices.Index(ln.waiters, w); i >= 0 {
		ln.waiters = slices.Delete(ln.waiters, i, i+1)
	}
	if len(ln.waiters) == 0 {
		select {
		case ln.wake <- struct{}{}:
		default:
		}
	}
}

// served moves virtual time on.
func (ln *line) served(w *waiter) { ln.now = max(ln.now, w.tag) }

// pause waits until the first may be served, or nobody is left.
func (ln *line) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ln.wake:
	}
}

// refuse turns a charge into a refusal.
func (c *Charge) refuse(wait time.Duration) {
	c.Granted, c.Wait = 0, max(wait, 1)
}
