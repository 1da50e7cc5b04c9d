package breaker

import (
	"context"
	"sync"
	"time"

	"github.com/ginfer/ginfer/internal/evidence"
	"github.com/ginfer/ginfer/internal/exchange"
)

// lateness is how long hystrix, which counts with a delay, is queried again.
const lateness = time.Second

// circuit is the state of one endpoint, or of another key.
type circuit struct {
	key    string
	rates  *rates // nil: nothing has failed yet
	notify func(context.Context, Event)

	mu          sync.Mutex
	settings    *Settings
	forced      bool // the state is fixed by Force
	lane             // the circuit's own
	routes      routes
	seen        evidence.Window
	callers     evidence.Callers
	consecutive int
	streak      streak
	failed      time.Time // time of the last failure
	pending     time.Time // when there were too many failures that hystrix had not counted; zero: never
	slow        evidence.Window
	inflight    int
	events      []Event // to be sent once mu is released
}

// streak is a run of failures. Only a success of an exchange that began after its first failure
// ends it: a server that refuses new requests may still complete streams that it began long
// ago.
type streak struct {
	number   uint64
	failures int
	young    int // exchanges in progress that began since the first failure
	stale    int // successes of exchanges that began before
}

// total reports whether the streak is an outage: enough failures in a row, or twice as many
// that only old successes interrupt, and not few compared with the exchanges in progress, since
// failures often end sooner than successes.
func (s *streak) total(row, enough int) bool {
	return row >= enough && 2*s.failures >= s.young ||
		s.failures >= 2*enough && s.failures >= 4*s.young && 2*s.failures >= s.stale
}

// permit is one exchange in progress.
type permit struct {
	ctx     context.Context //nolint:containedctx // both live as long as one request
	c       *circuit
	caller  uint64
	alone   bool
	unknown bool
	route   *route    // nil: none
	entered [2]uint64 // the generations of the circuit and of the route
	streak  uint64    // the streak during which it began; 0: none
	start   time.Time
	began   bool // it had content
	ended   bool
}

// allow admits an exchange, or returns an error with the time after which to retry.
func (c *circuit) allow(q *admission) (*permit, error) {
	c.mu.Lock()
	defer c.unlock(q.ctx)
	now := time.Now()
	s := c.settings
	if s.MaxConcurrent > 0 && c.inflight >= s.MaxConcurrent {
		return nil, refusal(ErrFull, time.Second, 0)
	}
	c.settle(now)
	p := &permit{ctx: q.ctx, c: c, caller: q.caller, alone: q.alone, start: now}
	if !s.RoutesOff {
		p.route = c.routes.find(q)
	}
	if wait, avoid := c.wait(p, now, q); wait > 0 {
		return nil, refusal(ErrOpen, wait, avoid)
	}
	p.note(&c.lane)
	if p.route != nil {
		p.note(&p.route.lane)
	}
	c.inflight++
	if c.streak.failures > 0 {
		p.streak = c.streak.number
		c.streak.young++
	}
	return p, nil
}

// wait returns how long a request must wait, and how long its endpoint should be avoided; 0: the
// request is admitted.
func (c *circuit) wait(p *permit, now time.Time, q *admission) (wait, avoid time.Duration) {
	if c.forced {
		if c.state == Open {
			return c.settings.Sleep, c.settings.Sleep
		}
		return 0, 0
	}
	if p.route != nil {
		if wait = c.turn(&p.route.lane, now, q); wait > 0 {
			return wait, 0 // other routes may be open
		}
	}
	if p.unknown = c.state != Closed && c.routes.isUnknown(q); p.unknown {
		return 0, 0
	}
	wait = c.turn(&c.lane, now, q)
	if c.state == Open {
		avoid = wait
	} // else requests must still reach the circuit to be admitted in part
	return wait, avoid
}

// note records the lane's generation.
func (p *permit) note(l *lane) {
	if l == &p.c.lane {
		p.entered[0] = l.generation
	} else {
		p.entered[1] = l.generation
	}
}

// isOf reports whether the lane's state is still that of the permit.
func (p *permit) isOf(l *lane) bool {
	if l == &p.c.lane {
		return p.entered[0] == l.generation
	}
	return p.entered[1] == l.generation
}

// each calls f for the circuit and for the route, if their states are still those of the permit.
func (p *permit) each(f func(*lane)) {
	if p.isOf(&p.c.lane) {
		f(&p.c.lane)
	}
	if p.route != nil && p.isOf(&p.route.lane) {
		f(&p.route.lane)
	}
}

// firstByte records that a response has begun well, with content. It counts for the recovery: a
// long stream must not keep the circuit open.
func (p *permit) firstByte(at time.Time) {
	c := p.c
	c.mu.Lock()
	defer c.unlock(p.ctx)
	if p.began || p.ended {
		return
	}
	p.began = true
	if c.forced {
		return
	}
	now := time.Now()
	if !c.settleUnknown(p, now, false) {
		p.each(func(l *lane) { c.won(l, p, now) })
	}
	s := c.settings
	if c.state != Closed || !p.isOf(&c.lane) || s.SlowFirstByte <= 0 || s.SlowPercent <= 0 {
		return
	}
	c.slow.Add(now, at.Sub(p.start) >= s.SlowFirstByte)
	if t := c.slow.Tally(now); int(t.All) >= s.Volume && t.Reaches(s.SlowPercent) {
		c.open(&c.lane, now, "slow")
	}
}

// outcome is the result of an exchange.
type outcome int

const (
	neutral outcome = iota // the client left, or the fault is not the endpoint's
	success
	failure
)

// end records the result of the exchange and frees its place. Only the first call counts.
func (p *permit) end(o outcome, seen exchange.Observation) {
	c := p.c
	c.mu.Lock()
	defer c.unlock(p.ctx)
	if p.ended {
		return
	}
	p.ended = true
	c.inflight--
	young := p.streak == c.streak.number && p.streak > 0
	if young {
		c.streak.young--
	}
	if o == neutral || seen == exchange.Repeated || c.forced {
		return
	}
	now := time.Now()
	if !c.settleUnknown(p, now, o == failure) {
		c.count(p, now, o == failure, seen == exchange.Corrected, young)
	}
}

// settleUnknown handles the result of a request on an unknown route, while the circuit is open
// because of another route, and reports whether the result needs no further handling. After a
// success only that other route remains open.
func (c *circuit) settleUnknown(p *permit, now time.Time, failed bool) bool {
	if !p.unknown || c.routes.sole == 0 || c.state == Closed {
		return false
	}
	if failed {
		c.routes.sole = 0
		return true
	}
	sole := c.routes.sole
	c.close(&c.lane, "another route serves")
	p.note(&c.lane)
	c.record(p, now, false, false)
	for _, one := range c.routes.list {
		if one.key == sole {
			c.open(&one.lane, now, "failures")
		}
	}
	return true
}

// count records a result. An exchange that began before a change of state does not count.
func (c *circuit) count(p *permit, now time.Time, failed, corrects, young bool) {
	if p.isOf(&c.lane) {
		c.row(failed, young)
		c.record(p, now, failed, corrects)
	}
	p.each(func(l *lane) {
		if l.state == HalfOpen && !corrects {
			l.all++
		}
		switch {
		case failed:
			c.lost(l, now)
		case !p.began:
			c.won(l, p, now)
		}
	})
	if c.state == Closed && p.isOf(&c.lane) {
		c.judge(now, failed)
		c.judgeRoute(p.route, now)
	}
}

// record adds a result to the window, or corrects it.
func (c *circuit) record(p *permit, now time.Time, failed, corrects bool) {
	if corrects {
		c.seen.Correct(now)
		c.callers.Correct(now, p.caller)
		if p.route != nil {
			p.route.seen.Correct(now)
			p.route.callers.Correct(now, p.caller)
		}
		return
	}
	if c.state == Closed && c.settings.FailurePercent > 0 {
		c.report(p, now, failed)
	}
	c.seen.Add(now, failed)
	c.callers.Add(now, p.caller, failed)
	if p.route != nil {
		p.route.seen.Add(now, failed)
		p.route.callers.Add(now, p.caller, failed)
	}
	if failed {
		c.failed = now
	}
}

// report passes a result to hystrix. Without failures it is skipped; after a failure as many
// successes as can matter are reported first.
func (c *circuit) report(p *permit, now time.Time, failed bool) {
	quiet := now.Sub(c.failed) > rateWindow
	if quiet && !failed || !c.rated() {
		return
	}
	if quiet {
		for range min(int(c.seen.Tally(now).Good()), c.settings.Volume) {
			c.rates.report(false, p.start)
		}
	}
	c.rates.report(failed, p.start)
}

// row counts failures in a row, including those that only old successes interrupt.
func (c *circuit) row(failed, young bool) {
	switch {
	case failed && c.streak.failures == 0:
		c.consecutive, c.streak = 1, streak{number: c.streak.number + 1, failures: 1}
	case failed:
		c.consecutive++
		c.streak.failures++
	case young:
		c.consecutive, c.streak = 0, streak{number: c.streak.number + 1}
	default:
		c.consecutive = 0
		c.streak.stale++
	}
}

// forget drops what was counted in another state.
func (c *circuit) forget(l *lane) {
	if l != &c.lane {
		for _, r := range c.routes.list {
			if l == &r.lane {
				r.seen, r.callers = evidence.Window{}, evidence.Callers{}
			}
		}
		return
	}
	c.consecutive, c.seen, c.callers, c.slow = 0, evidence.Window{}, evidence.Callers{}, evidence.Window{}
	c.streak = streak{number: c.streak.number + 1}
	c.pending, c.failed = time.Time{}, time.Time{}
	for _, r := range c.routes.list {
		r.seen, r.callers = evidence.Window{}, evidence.Callers{}
	}
}

// rated reports whether hystrix counts for the circuit, and starts it if needed.
func (c *circuit) rated() bool {
	if c.rates != nil {
		return true
	}
	r, err := newRates()
	if err != nil { // it has no reason to
		return false
	}
	c.rates = r
	r.configure(c.settings)
	return true
}

// unrate releases hystrix's counts, which are outdated.
func (c *circuit) unrate() {
	if c.rates != nil {
		c.rates.release()
		c.rates = nil
	}
}

// unlock releases mu and then sends the events.
func (c *circuit) unlock(ctx context.Context) {
	events := c.events
	c.events = nil
	c.mu.Unlock()
	for _, e := range events {
		c.notify(ctx, e)
	}
}
