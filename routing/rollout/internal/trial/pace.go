package trial

import (
	"slices"
	"time"
)

// pace tracks the times to the first byte of the stable version's latest responses.
type pace struct {
	last   [512]time.Duration
	n      int
	p95    time.Duration // the 95th percentile when it was last computed
	counts int           // n at that time
}

// minPace is how many responses a percentile takes.
const minPace = 50

func (p *pace) add(d time.Duration) {
	p.last[p.n%len(p.last)] = d
	p.n++
}

// limit returns the time above which a response is slow: above the 95th percentile by factor
// and by least. It is computed again after every 32 responses.
func (p *pace) limit(factor float64, least time.Duration) (limit float64, known bool) {
	if p.n < minPace {
		return 0, false
	}
	if p.p95 == 0 || p.n-p.counts >= 32 {
		sorted := slices.Clone(p.last[:min(p.n, len(p.last))])
		slices.Sort(sorted)
		p.p95, p.counts = sorted[len(sorted)*95/100], p.n
	}
	return max(float64(p.p95)*factor, float64(p.p95)+float64(least)), true // may overflow a Duration
}
