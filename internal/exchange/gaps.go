package exchange

import (
	"slices"
	"time"
)

const (
	// gapsKept is how many of a stream's latest gaps its median is taken from, and
	// gapsRound how many pass before it is taken again.
	gapsKept  = 31
	gapsRound = 16
	// gapFactor is how many times its median gap a stream may pause.
	gapFactor = 10
)

// gaps follows how a stream of events comes, to tell a stall by it: a model that
// writes fifty tokens a second and stops for minutes is not going on, one that
// needs three seconds a token is.
type gaps struct {
	last   [gapsKept]time.Duration
	n      int
	median time.Duration
}

func (g *gaps) add(d time.Duration) {
	g.last[g.n%gapsKept] = d
	g.n++
	if g.n >= gapsKept && (g.n-gapsKept)%gapsRound == 0 {
		sorted := g.last
		slices.Sort(sorted[:])
		g.median = sorted[gapsKept/2]
	}
}

// limit is how long the stream may pause: idle, until its pace is known.
func (g *gaps) limit(idle, stall time.Duration) time.Duration {
	if stall <= 0 || g.n < gapsKept {
		return idle
	}
	own := max(stall, gapFactor*g.median)
	if idle > 0 {
		own = min(own, idle)
	}
	return own
}
