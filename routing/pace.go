package routing

import (
	"slices"
	"time"
)

// pace is how long the stable version's latest answers took to begin.
type pace struct {
	last   [512]time.Duration
	n      int
	slow   time.Duration // the 95th percentile, as it was when
	counts int           // so many had been seen
}

// minPace is how many answers it takes to know a percentile.
const minPace = 50

func (p *pace) add(d time.Duration) {
	p.last[p.n%len(p.last)] = d
	p.n++
}

// limit is from when on an answer is slow. It is looked at anew after every 32 answers.
func (p *pace) limit(factor float64) (limit float64, known bool) {
	if p.n < minPace {
		return 0, false
	}
	if p.slow == 0 || p.n-p.counts >= 32 {
		sorted := slices.Clone(p.last[:min(p.n, len(p.last))])
		slices.Sort(sorted)
		p.slow, p.counts = sorted[len(sorted)*95/100], p.n
	}
	return float64(p.slow) * factor, true // may be more than a Duration has
}
