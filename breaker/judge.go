package breaker

import (
	"time"

	"github.com/ginfer/ginfer/internal/evidence"
)

// judge opens the circuit if too many exchanges have failed.
func (c *circuit) judge(now time.Time, failed bool) {
	n := c.settings.Consecutive
	if failed && n > 0 && c.streak.total(c.consecutive, n) && c.affectsOthers(now) {
		c.open(&c.lane, now, "consecutive")
		return
	}
	c.pending = time.Time{}
	if now.Sub(c.failed) > rateWindow || !c.failing(now) || !c.shared(&c.lane, now) {
		return
	}
	if c.rates == nil || c.rates.tooMany() {
		c.open(&c.lane, now, "failures")
		return
	}
	c.pending = now
}

// settle queries hystrix again if its counts were behind.
func (c *circuit) settle(now time.Time) {
	if c.pending.IsZero() || c.state != Closed || c.forced {
		return
	}
	switch {
	case now.Sub(c.pending) > lateness:
		c.pending = time.Time{}
	case c.failing(now) && c.shared(&c.lane, now) && (c.rates == nil || c.rates.tooMany()):
		c.open(&c.lane, now, "failures")
	}
}

// failing estimates hystrix's result from the circuit's own counts. Hystrix alone is not
// enough: it reads requests and failures while others count, so it can see failures without
// their requests; it keeps the counts of the previous circuit for a while; and it is slower to
// query.
func (c *circuit) failing(now time.Time) bool {
	s := c.settings
	t := c.seen.Tally(now)
	return s.FailurePercent > 0 && int(t.All) >= s.Volume && t.Reaches(s.FailurePercent)
}

// judgeRoute opens a route if its exchanges fail while those of others do not.
func (c *circuit) judgeRoute(r *route, now time.Time) {
	if r == nil || r.state != Closed || c.state != Closed || c.settings.FailurePercent <= 0 {
		return
	}
	t := r.seen.Tally(now)
	if int(t.All) < c.settings.Volume || !t.Reaches(c.settings.FailurePercent) {
		return
	}
	if c.routes.serve(r, now) && c.shared(&r.lane, now) {
		c.open(&r.lane, now, "failures")
	}
}

// shared reports whether the failures are not only those of one caller, or one route, while
// others are served: without the one that fails most, the others must fail as well.
func (c *circuit) shared(l *lane, now time.Time) bool {
	if l != &c.lane {
		for _, r := range c.routes.list {
			if l == &r.lane {
				return c.settings.CallersOff || c.othersFail(r.callers.Others(now))
			}
		}
		return true
	}
	return (c.settings.CallersOff || c.othersFail(c.callers.Others(now))) &&
		(c.settings.RoutesOff || c.othersFail(c.routes.others(now), false))
}

// othersFail reports whether the others fail as well.
func (c *circuit) othersFail(others evidence.Tally, _ bool) bool {
	return others.Good() == 0 || others.Reaches(c.settings.percent())
}

// affectsOthers reports whether a run of failures is not only one caller's, or one route's, beside
// successes of others in the last ten seconds.
func (c *circuit) affectsOthers(now time.Time) bool {
	others, several := c.callers.Others(now)
	if !c.settings.CallersOff && !several && others.Good() > 0 {
		return false
	}
	t := c.routes.others(now)
	return c.settings.RoutesOff || t.Good() == 0 || t.Bad > 0
}
