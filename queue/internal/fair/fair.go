// Package fair chooses whose turn it is: between classes by their shares, within a
// class between tenants by their weights. A tenant with many tasks waiting is served
// as often as one with few.
package fair

import (
	"math"
	"time"

	"github.com/ginfer/ginfer/queue/internal/jet"
)

// Picker knows the lanes that may have tasks. It belongs to one goroutine.
type Picker struct {
	shares  []int
	weight  func(tenant string) int
	classes []float64 // virtual time that each class has used
	lanes   map[jet.Lane]*lane
	now     []float64 // virtual time of the tenants within each class
}

// lane is a lane's place among those of its class.
type lane struct {
	used   float64   // virtual time
	at     time.Time // when it may have tasks
	paused time.Time
	heard  time.Time // when it was last said to have tasks
	due    time.Time // when one that was given back is there again
}

// never is when a lane is asked that is known to be empty.
const never = time.Duration(math.MaxInt64)

// New returns a Picker for as many classes as there are shares. Weight may be nil.
func New(shares []int, weight func(tenant string) int) *Picker {
	return &Picker{shares: shares, weight: weight, classes: make([]float64, len(shares)), now: make([]float64, len(shares)), lanes: map[jet.Lane]*lane{}}
}

// Ready says that a lane has tasks from a time on. It does not end a pause.
func (p *Picker) Ready(l jet.Lane, now, at time.Time) {
	if l.Class < 0 || l.Class >= len(p.shares) {
		return
	}
	e, ok := p.lanes[l]
	if !ok {
		e = &lane{used: p.now[l.Class], at: at}
		p.lanes[l] = e
	}
	e.heard = now
	if at.After(now) && (!e.due.After(now) || at.Before(e.due)) {
		e.due = at
	}
	if at.Before(e.at) {
		e.at = at
		e.used = max(e.used, p.now[l.Class]) // no credit for the time it was empty
	}
}

// Empty says that a lane had no task when it was asked, at a time. What was heard
// since then counts more.
func (p *Picker) Empty(l jet.Lane, asked time.Time) {
	e, ok := p.lanes[l]
	switch {
	case !ok || !e.heard.Before(asked):
	case e.due.After(asked):
		e.at = e.due
	default:
		e.at = asked.Add(never)
	}
}

// Pause lets a lane rest.
func (p *Picker) Pause(l jet.Lane, until time.Time) {
	if e, ok := p.lanes[l]; ok && until.After(e.paused) {
		e.paused = until
	}
}

// Keep forgets lanes that are not among these, unless they are known to have tasks.
func (p *Picker) Keep(lanes map[jet.Lane]uint64, now time.Time) {
	for l, e := range p.lanes {
		if lanes[l] == 0 && e.at.After(now) {
			delete(p.lanes, l)
		}
	}
}

// Next is the lane whose turn it is, among those that allow lets through, and how
// many are ready besides. Without any it says when one will be.
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

// Took charges a lane for tasks that it got.
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
	for i := range p.classes { // an empty class saves nothing up
		p.classes[i] = max(p.classes[i], least)
	}
}
