package breaker

import (
	"math/rand/v2"
	"sync"
	"time"
)

// ramp is which part of requests passes in each step of the way back.
var ramp = [...]float64{0.01, 0.05, 0.25, 0.5} //nolint:gochecknoglobals // a constant

// circuit is the state of one endpoint, or of whatever its key says.
type circuit struct {
	key    string
	rates  *rates
	notify func(Event)

	mu          sync.Mutex
	settings    *Settings
	state       State
	forced      bool   // by hand: it stays as it is
	generation  uint64 // of the state: results of another one do not count
	consecutive int
	streak      streak
	failed      time.Time // when rates heard of a failure last
	failures    window
	slow        window
	inflight    int
	until       time.Time     // open until
	sleep       time.Duration // how long it was open last
	rest        time.Time     // asked for by a 429
	step        int           // of the way back
	stepped     time.Time
	passed      bool // something succeeded in this step
	credit      float64
	events      []Event // to be told when mu is free
}

// streak is a run of failures that no success of what began after the first of them
// has ended. The others do not end it: while a server refuses all that is new, streams
// that it began long ago may go on to end well.
type streak struct {
	number   uint64
	failures int
	young    int // exchanges under way that began since the first failure
	stale    int // successes of what began before
}

// total reports whether it is an outage: so many in a row, or twice as many that only
// old successes interrupt; and they are not few beside those of which nothing is known
// yet, for failures often come sooner than successes.
func (s *streak) total(row, enough int) bool {
	return row >= enough && 2*s.failures >= s.young ||
		s.failures >= 2*enough && s.failures >= 4*s.young && 2*s.failures >= s.stale
}

// permit is one exchange under way.
type permit struct {
	c          *circuit
	generation uint64
	streak     uint64 // during which it began; 0: none
	start      time.Time
	began      bool // a first byte came
	ended      bool
}

func newCircuit(key string, s *Settings, notify func(Event)) (*circuit, error) {
	r, err := newRates()
	if err != nil {
		return nil, err
	}
	r.configure(s)
	return &circuit{key: key, rates: r, notify: notify, settings: s}, nil
}

// allow lets an exchange begin, or says why not and when to come again.
func (c *circuit) allow() (*permit, error) {
	c.mu.Lock()
	defer c.tell()
	now := time.Now()
	if now.Before(c.rest) {
		return nil, refusal(ErrResting, c.rest.Sub(now), c.rest.Sub(now))
	}
	if m := c.settings.MaxConcurrent; m > 0 && c.inflight >= m {
		return nil, refusal(ErrFull, time.Second, 0)
	}
	if wait := c.turn(now); wait > 0 {
		rest := wait
		if c.state == HalfOpen { // it needs to be asked, to get its part
			rest = 0
		}
		return nil, refusal(ErrOpen, wait, rest)
	}
	c.inflight++
	p := &permit{c: c, generation: c.generation, start: now}
	if c.streak.failures > 0 {
		p.streak = c.streak.number
		c.streak.young++
	}
	return p, nil
}

// turn moves the state on with time, and returns how long a request must wait; 0
// when it may pass.
func (c *circuit) turn(now time.Time) time.Duration {
	if c.state == Closed && !c.forced && now.Sub(c.failed) <= rateWindow && c.failing(now) && c.rates.tooMany() {
		c.open(now, "failures")
	}
	switch {
	case c.state == Closed:
		return 0
	case c.forced:
		return c.settings.Sleep
	case c.state == Open && now.Before(c.until):
		return c.until.Sub(now)
	case c.state == Open:
		c.change(HalfOpen, "slept")
		c.step, c.stepped, c.passed, c.credit = 0, now, false, 1
	case c.passed && now.Sub(c.stepped) >= c.settings.Step:
		c.step++
		c.stepped, c.passed, c.credit = now, false, 1
		if c.step == len(ramp) {
			c.close("recovered")
			return 0
		}
	}
	if !c.passed && now.Sub(c.stepped) >= c.settings.Sleep {
		c.stepped, c.credit = now, 1 // who was let through never came back: another one
	}
	if c.credit += ramp[c.step]; c.credit < 1 {
		return c.settings.Step
	}
	c.credit--
	return 0
}

// failing is a look at what hystrix would find. That alone is not enough: it reads the
// requests and then the failures while others count, so that it can see failures of
// requests which it did not; it does not know the successes from before the first
// failure; and it still knows those of the circuit that used it before. And it is the
// dearer one to ask.
func (c *circuit) failing(now time.Time) bool {
	all, failed := c.failures.counts(now)
	return all >= c.settings.Volume && failed*100 >= all*c.settings.FailurePercent
}

// firstByte notes that a response has begun well, with content. It counts on the way
// back: a stream that goes on for long must not keep the circuit open.
func (p *permit) firstByte(now time.Time) {
	c := p.c
	c.mu.Lock()
	defer c.tell()
	if p.began || p.generation != c.generation {
		return
	}
	p.began = true
	c.passed = true
	if c.state != Closed || c.forced || c.settings.SlowFirstByte <= 0 || c.settings.SlowPercent <= 0 {
		return
	}
	c.slow.add(now, now.Sub(p.start) >= c.settings.SlowFirstByte)
	if all, slow := c.slow.counts(now); all >= c.settings.Volume && slow*100 >= all*c.settings.SlowPercent {
		c.open(now, "slow")
	}
}

// outcome is how an exchange ended.
type outcome int

const (
	neutral outcome = iota // the client left, or the fault is its own
	success
	failure
)

// end tells how the exchange ended, and frees its place. It may be called often;
// the first one counts.
func (p *permit) end(o outcome) {
	c := p.c
	c.mu.Lock()
	defer c.tell()
	if p.ended {
		return
	}
	p.ended = true
	c.inflight--
	young := p.streak == c.streak.number && p.streak > 0
	if young {
		c.streak.young--
	}
	if o == neutral || c.forced || p.generation != c.generation {
		return // what began before the circuit opened says nothing of now
	}
	c.row(o == failure, young)
	c.count(o == failure, p.start)
}

// row counts failures in a row, and those that only old successes interrupt.
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

func (c *circuit) count(failed bool, start time.Time) {
	now := time.Now()
	c.passed = c.passed || !failed
	switch {
	case c.state == Closed:
		if c.settings.FailurePercent > 0 {
			c.failures.add(now, failed)
			if failed {
				c.failed = now
			}
			if now.Sub(c.failed) <= rateWindow { // hystrix is told of nothing while nothing fails: see failing
				c.rates.report(failed, start)
			}
		}
		if n := c.settings.Consecutive; failed && n > 0 && c.streak.total(c.consecutive, n) {
			c.open(now, "consecutive")
		}
	case c.state == HalfOpen && failed:
		c.open(now, "probe failed")
	}
}

// restFor refuses everything for as long as the endpoint asked.
func (c *circuit) restFor(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.settings.MaxRest > 0 {
		if until := time.Now().Add(min(d, c.settings.MaxRest)); until.After(c.rest) {
			c.rest = until
		}
	}
}

func (c *circuit) open(now time.Time, reason string) {
	c.sleep = min(max(2*c.sleep, c.settings.Sleep), c.settings.MaxSleep)
	varied := time.Duration(float64(c.sleep) * (0.8 + 0.4*rand.Float64())) //nolint:gosec // spreads load, is no secret
	c.until = now.Add(varied)
	c.change(Open, reason)
	c.events[len(c.events)-1].Sleep = varied
}

func (c *circuit) close(reason string) {
	c.sleep, c.consecutive, c.failures, c.slow = 0, 0, window{}, window{}
	c.streak = streak{number: c.streak.number + 1}
	c.rates.reset()
	c.change(Closed, reason)
}

func (c *circuit) change(to State, reason string) {
	c.events = append(c.events, Event{Circuit: c.key, From: c.state, To: to, Reason: reason})
	c.state = to
	c.generation++
}

// tell unlocks, and then tells of what happened.
func (c *circuit) tell() {
	events := c.events
	c.events = nil
	c.mu.Unlock()
	for _, e := range events {
		c.notify(e)
	}
}
