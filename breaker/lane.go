package breaker

import (
	"context"
	"math"
	"math/rand/v2"
	"time"
)

// lane is the state of a circuit, or of one of its routes.
type lane struct {
	name       string // of the route; "": the circuit itself
	state      State
	generation uint64        // of the state: results of another one do not count
	until      time.Time     // open until
	sleep      time.Duration // the last time it stayed open
	all, bad   int           // during recovery
	wins       int           // how many of these at least began well
	step       int           // of the ramp
	stepped    time.Time
	passed     bool // something succeeded in this step
	stumbled   bool // something failed in this step
	credit     float64
	trickled   time.Time // when the latest request without another endpoint was admitted
}

// admission describes a request that asks for admission by a circuit.
type admission struct {
	ctx    context.Context //nolint:containedctx // both live as long as one request
	caller uint64
	route  uint64 // 0: none
	path   string // of the route
	alone  bool   // the request has no other endpoint
	last   bool   // and the circuit has refused it already
}

// turn advances the state with time, and returns how long a request must wait; 0: it is admitted.
func (c *circuit) turn(l *lane, now time.Time, q *admission) time.Duration {
	s := c.settings
	switch {
	case l.state == Closed:
		return 0
	case l.state == Open && now.Before(l.until):
		if q.last && s.Trickle > 0 && now.Sub(l.trickled) >= s.interval() {
			l.trickled = now
			return 0
		}
		return l.until.Sub(now)
	case l.state == Open:
		c.half(l, now, "slept")
	}
	if q.alone || len(s.Ramp) == 0 {
		return l.turnAlone(now, s)
	}
	return c.ramp(l, now)
}

// turnAlone is turn for a request that no other endpoint can serve.
func (l *lane) turnAlone(now time.Time, s *Settings) time.Duration {
	if l.wins > 0 {
		return 0
	}
	if wait := s.interval() - now.Sub(l.trickled); wait > 0 {
		return wait
	}
	l.trickled = now
	return 0
}

// ramp is turn for a request that other endpoints can serve.
func (c *circuit) ramp(l *lane, now time.Time) time.Duration {
	s := c.settings
	since := now.Sub(l.stepped)
	switch {
	case !l.stumbled && since >= s.Sleep: // no traffic, or no result yet
		l.advance(now, int(min(since/s.Sleep, math.MaxInt16)))
	case l.passed && since >= s.Step:
		l.advance(now, 1)
	case since >= s.Sleep:
		l.advance(now, 0) // another step of the same share
	}
	if l.step >= len(s.Ramp) {
		c.close(l, "recovered")
		return 0
	}
	if l.credit += s.Ramp[l.step]; l.credit < 1 {
		return s.Step
	}
	l.credit--
	return 0
}

func (l *lane) advance(now time.Time, steps int) {
	l.step += steps
	l.stepped, l.passed, l.stumbled, l.credit = now, false, false, 1
}

// half makes the lane half-open.
func (c *circuit) half(l *lane, now time.Time, reason string) {
	c.change(l, HalfOpen, reason)
	l.all, l.bad, l.wins, l.step = 0, 0, 0, 0
	l.trickled = time.Time{}
	l.advance(now, 0)
	c.forget(l)
}

// won records that an exchange began or ended well. Without another endpoint a few are enough
// to close the lane.
func (c *circuit) won(l *lane, p *permit, now time.Time) {
	if l.state == Open { // a request without another endpoint
		c.half(l, now, "responded")
		p.note(l)
	}
	if l.state != HalfOpen {
		return
	}
	l.passed = true
	l.wins++
	if (p.alone || len(c.settings.Ramp) == 0) && l.wins >= c.settings.Successes {
		c.close(l, "recovered")
	}
}

// lost records a failure during recovery, which fails by the rate that opens a circuit.
func (c *circuit) lost(l *lane, now time.Time) {
	if l.state != HalfOpen {
		return
	}
	l.bad++
	l.stumbled = true
	s := c.settings
	if l.all >= s.Volume && l.bad*100 >= l.all*s.percent() && c.shared(l, now) {
		c.open(l, now, "relapsed")
	}
}

func (c *circuit) open(l *lane, now time.Time, reason string) {
	l.sleep = min(max(2*l.sleep, c.settings.Sleep), c.settings.MaxSleep)
	varied := time.Duration(float64(l.sleep) * (0.8 + 0.4*rand.Float64())) //nolint:gosec // spreads load, is no secret
	l.until, l.trickled = now.Add(varied), now
	c.change(l, Open, reason)
	c.events[len(c.events)-1].Sleep = varied
	if l == &c.lane {
		c.routes.opened(now)
	}
}

func (c *circuit) close(l *lane, reason string) {
	l.sleep = 0
	c.change(l, Closed, reason)
	c.forget(l)
	if l == &c.lane {
		c.routes.sole = 0
		c.unrate()
	}
}

func (c *circuit) change(l *lane, to State, reason string) {
	c.events = append(c.events, Event{Circuit: c.key, Route: l.name, From: l.state, To: to, Reason: reason})
	l.state = to
	l.generation++
}
