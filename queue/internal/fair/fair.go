// Package fair schedules lanes: between classes by their shares, and within a class
// between tenants by their weights. A tenant with many waiting tasks is served as often
// as one with few.
package fair

import (
	"math"
	"time"

	"github.com/ginfer/ginfer/queue/internal/jet"
)

// Picker picks the next of the lanes that may have tasks. It is not safe for concurrent
// use.
type Picker struct {
	shares  []int
	weight  func(tenant string) int
	classes []float64 // virtual time that each class has used
	lanes   map[jet.Lane]*lane
	now     []float64 // virtual time of the tenants within each class
}

// lane is the state of a lane.
type lane struct {
	used   float64   // virtual time
	at     time.Time // when it may have tasks
	paused time.Time // until when it is paused
	marked time.Time // when it was last marked as having tasks
	due    time.Time // when a returned task is ready again
}

// never is the wait of a lane that is known to be empty.
const never = time.Duration(math.MaxInt64)

// New returns a Picker for as many classes as there are shares. Weight may be nil.
func New(shares []int, weight func(tenant string) int) *Picker {
	return &Picker{shares: shares, weight: weight, classes: make([]float64, len(shares)), now: make([]float64, len(shares)), lanes: map[jet.Lane]*lane{}}
}

// Ready marks a lane as having tasks from a time on. It does not end a pause.
func (p *Picker) Ready(l jet.Lane, now, at time.Time) {
	if l.Class < 0 || l.Class >= len(p.shares) {
		return
	}
	e, ok := p.lanes[l]
	if !ok {
		e = &lane{used: p.now[l.Class], at: at}
		p.lanes[l] = e
	}
	e.marked = now
	if at.After(now) && (!e.due.After(now) || at.Before(e.due)) {
		e.due = at
	}
	if at.Before(e.at) {
		e.at = at
		e.used = max(e.used, p.now[l.Class]) // an empty lane earns no credit
	}
}

// Empty marks a lane as empty at the time of a fetch. A later Ready has precedence.
func (p *Picker) Empty(l jet.Lane, fetched time.Time) {
	e, ok := p.lanes[l]
	switch {
	case !ok || !e.marked.Before(fetched):
	case e.due.After(fetched):
		e.at = e.due
	default:
		e.at = fetched.Add(never)
	}
}

// Pause excludes a lane until a time.
func (p *Picker) Pause(l jet.Lane, until time.Time) {
	if e, ok := p.lanes[l]; ok && until.After(e.paused) {
		e.paused = until
	}
}

// Keep forgets the lanes that are not in lanes, unless they may have tasks.
func (p *Picker) Keep(lanes map[jet.Lane]uint64, now time.Time) {
	for l, e := range p.lanes {
		if lanes[l] == 0 && e.at.After(now) {
			delete(p.lanes, l)
		}
	}
}

// Next returns the next lane among those that allow accepts, and how many others are
// ready. If none is ready it returns the wait for the first.
func (p *Picker) Next(now time.Time, allow func(jet.Lane) bool) (next jet.Lane, others int, ok bool, wait time.Duration) {
	var best *lane
	wait = never
	for l, e := range p.lanes {
		if d := e.when().Sub(now); d > 0 {
			wait = min(wait, d)
			continue
		}
		if !allow(l) {
			continue
		}
		others++
		if best == nil || p.before(l, e, next, best) {
			next, best = l, e
		}
	}
	if best == nil {
		return next, 0, false, wait
	}
	return next, others - 1, true, 0
}

func (e *lane) when() time.Time {
	if e.paused.After(e.at) {
		return e.paused
	}
	return e.at
}

func (p *Picker) before(a jet.Lane, ea *lane, b jet.Lane, eb *lane) bool {
	if a.Class != b.Class {
		ca, cb := p.classes[a.Class], p.classes[b.Class]
		if ca != cb {
			return ca < cb
		}
		return a.Class < b.Class
	}
	if ea.used != eb.used {
		return ea.used < eb.used
	}
	return a.Tenant < b.Tenant
}

// Took charges a lane for n tasks.
func (p *Picker) Took(l jet.Lane, n int) {
	e, ok := p.lanes[l]
	if !ok {
		return
	}
	p.now[l.Class] = max(p.now[l.Class], e.used)
	weight := 1
	if p.weight != nil {
		weight = max(p.weight(l.Tenant), 1)
	}
	e.used += float64(n) / float64(weight)
	least := p.classes[l.Class]
	p.classes[l.Class] += float64(n) / float64(max(p.shares[l.Class], 1))
	for i := range p.classes { // an empty class earns no credit
		p.classes[i] = max(p.classes[i], least)
	}
}
