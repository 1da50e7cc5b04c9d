package ratelimit

import "time"

const (
	// A step is made of the samples of a window: a second, and at least ten.
	windowTime    = time.Second
	windowSamples = 10
	// longWindow is over how many windows "usual" is averaged, after warmUp of them.
	longWindow = 600
	warmUp     = 10
	smoothing  = 0.2
)

// gradient finds a limit by comparing how fast first tokens come lately with how
// fast they usually do (Gradient2).
type gradient struct {
	cfg   *AdaptiveConfig
	limit float64

	long  float64 // seconds
	count int     // of windows in long

	begun time.Time // of the window
	sum   float64
	n     int
	peak  int // most under way in it
}

func newGradient(cfg *AdaptiveConfig) gradient {
	return gradient{cfg: cfg, limit: float64(cfg.Initial)}
}

// sample takes a time, and how many requests were under way.
func (g *gradient) sample(d time.Duration, inflight int) {
	now := time.Now()
	if g.n == 0 {
		g.begun = now
	}
	g.sum += max(d, time.Microsecond).Seconds() // no time at all says nothing
	g.n++
	g.peak = max(g.peak, inflight)
	if g.n >= windowSamples && now.Sub(g.begun) >= windowTime {
		g.step(g.sum/float64(g.n), g.peak)
		g.sum, g.n, g.peak = 0, 0, 0
	}
}

// usual moves the long average: a plain mean at first, then exponential.
func (g *gradient) usual(s float64) {
	g.count++
	weight := 2.0 / (longWindow + 1)
	if g.count <= warmUp {
		weight = 1 / float64(g.count)
	}
	g.long += (s - g.long) * weight
}

// step moves the limit.
func (g *gradient) step(short float64, inflight int) {
	g.usual(short)
	if g.long/short > 2 { // after a long time of load, what is usual should not stay high
		g.long *= 0.95
	}
	if float64(inflight) < g.limit/2 {
		return // the limit was not what kept the load low
	}
	slope := min(max(g.cfg.Tolerance*g.long/short, 0.5), 1)
	next := slope*g.limit + float64(g.cfg.Headroom)
	g.limit += (next - g.limit) * smoothing
	g.limit = min(max(g.limit, float64(g.cfg.Min)), float64(g.cfg.Max))
}
