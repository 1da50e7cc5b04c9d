package exchange

import (
	"slices"
	"time"
)

const (
	// gapsKept is the number of latest gaps from which a stream's median is taken, and
	// gapsRound the number of gaps after which it is taken again.
	gapsKept  = 31
	gapsRound = 16
	// gapFactor is how many median gaps a stream may pause.
	gapFactor = 10
)

// gaps tracks the pace of a stream of events, to detect a stall: for a model that writes fifty
// tokens per second a pause of minutes is one, for a model that needs three seconds per token
// it is not.
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

// limit returns how long the stream may pause: idle, until its pace is known.
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
