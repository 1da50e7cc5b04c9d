package ratelimit

import (
	"cmp"
	"slices"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/internal/body"
)

// waiter is a request that waits in a line.
type waiter struct {
	tenant   string
	priority int
	deadline time.Time

	tag    float64
	number uint64
	err    error
	done   chan struct{} // closed at the end of the wait
}

// waiter returns the waiter of a request.
func (w *Wait) waiter(c *gin.Context, now time.Time) (out waiter, err error) {
	out = waiter{deadline: now.Add(w.Max), done: make(chan struct{})}
	if w.Priority != nil {
		out.priority = w.Priority(c)
	}
	if w.Tenant != nil {
		if out.tenant, err = w.Tenant(c); err != nil {
			return out, err
		}
	}
	_, err = body.Hold(c) // the server detects a client disconnect only after the body was read
	return out, err
}

// line is the waiters in order of service: by priority, then by start-time fair queuing
// (Goyal, Vin, Cheng: "Start-time Fair Queuing", SIGCOMM 1996) between tenants, then by
// arrival. Its owner's lock guards it.
type line struct {
	waiters []*waiter
	numbers uint64
	now     map[int]float64      // virtual time by priority: the last tag served
	next    map[customer]float64 // tag of a tenant's next waiter
}

// customer is a tenant within a priority.
type customer struct {
	tenant   string
	priority int
}

func (w *waiter) customer() customer { return customer{w.tenant, w.priority} }

func newLine() line { return line{now: map[int]float64{}, next: map[customer]float64{}} }

// place assigns w its tag and returns its position.
func (ln *line) place(w *waiter) int {
	ln.numbers++
	w.number = ln.numbers
	w.tag = max(ln.now[w.priority], ln.next[w.customer()])
	place, _ := slices.BinarySearchFunc(ln.waiters, w, order)
	return place
}

func order(a, b *waiter) int {
	return cmp.Or(cmp.Compare(b.priority, a.priority), cmp.Compare(a.tag, b.tag), cmp.Compare(a.number, b.number))
}

func (ln *line) insert(w *waiter, place int) {
	ln.next[w.customer()] = w.tag + 1
	ln.waiters = slices.Insert(ln.waiters, place, w)
}

func (ln *line) last() *waiter { return ln.waiters[len(ln.waiters)-1] }

// serve removes w when it is its turn.
func (ln *line) serve(w *waiter) {
	ln.now[w.priority] = max(ln.now[w.priority], w.tag)
	ln.remove(w)
	if len(ln.next) > 2*len(ln.waiters)+16 { // entries of tenants without waiters
		for c, tag := range ln.next {
			if tag <= ln.now[c.priority] {
				delete(ln.next, c)
			}
		}
	}
}

// leave removes w without a turn. Its tenant's other waiters move up.
func (ln *line) leave(w *waiter) {
	c := w.customer()
	if ln.next[c]--; ln.next[c] <= ln.now[w.priority] {
		delete(ln.next, c)
	}
	for _, other := range ln.waiters {
		if other.customer() == c && other.tag > w.tag {
			other.tag--
		}
	}
	ln.remove(w)
	slices.SortFunc(ln.waiters, order)
}

// remove removes w. An empty line forgets what it served.
func (ln *line) remove(w *waiter) {
	if i := slices.Index(ln.waiters, w); i >= 0 {
		ln.waiters = slices.Delete(ln.waiters, i, i+1)
	}
	if len(ln.waiters) == 0 {
		clear(ln.now)
		clear(ln.next)
	}
}

func (ln *line) has(w *waiter) bool { return slices.Contains(ln.waiters, w) }
