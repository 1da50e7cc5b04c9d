package breaker

import (
	"time"

	"github.com/ginfer/ginfer/internal/evidence"
)

// judge opens the circuit when too many exchanges failed, as the one that just ended
// shows.
func (c *circuit) judge(now time.Time, failed bool) {
	n := c.settings.Consecutive
	if failed && n > 0 && c.streak.total(c.consecutive, n) && c.isOthersToo(now) {
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

// settle asks hystrix again, when it had not counted all.
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

// failing is a look at what hystrix would find. That alone is not enough: it reads the
// requests and then the failures while others count, so that it can see failures of
// requests which it did not; and it still knows those of the circuit that used it before.
// And it is the dearer one to ask.
func (c *circuit) failing(now time.Time) bool {
	s := c.settings
	t := c.seen.Tally(now)
	return s.FailurePercent > 0 && int(t.All) >= s.Volume && t.Reaches(s.FailurePercent)
}

// judgeRoute opens a route whose exchanges fail while those of others do not.
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

// shared reports whether what fails is not only one caller's, or one route's, while others
// are served: without those that fail most the rest has to fail as well.
func (c *circuit) shared(l *lane, now time.Time) bool {
	if l != &c.lane {
		for _, r := range c.routes.list {
			if l == &r.lane {
				return c.settings.CallersOff || c.fail(r.callers.Others(now))
			}
		}
		return true
	}
	return (c.settings.CallersOff || c.fail(c.callers.Others(now))) &&
		(c.settings.RoutesOff || c.fail(c.routes.others(now), false))
}

// fail reports whether the others are not served either.
func (c *circuit) fail(others evidence.Tally, _ bool) bool {
	return others.Good() == 0 || others.Reaches(c.settings.percent())
}

// isOthersToo reports whether failures in a row are not those of one caller, or of one
// route, beside successes of others in the last ten seconds.
func (c *circuit) isOthersToo(now time.Time) bool {
	others, several := c.callers.Others(now)
	if !c.settings.CallersOff && !several && others.Good() > 0 {
		return false
	}
	t := c.routes.others(now)
	return c.settings.RoutesOff || t.Good() == 0 || t.Bad > 0
}
