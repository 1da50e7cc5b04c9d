package ratelimit

import (
	"math"
	"time"
)

const (
	// A step is made of the samples of a window: a second, and at least twenty.
	windowTime    = time.Second
	windowSamples = 20
	// longWindow is over how many windows "usual" is averaged, after warmUp of them.
	longWindow = 600
	warmUp     = 10
	smoothing  = 0.2
	// growth is the factor by which the limit rises in a window while nothing says that
	// it is too high: at first, and after so many good windows.
	growth      = 1.5
	goodWindows = 5
	// probeAfter is after how many windows at the limit what is usual is measured anew,
	// with probeSamples, and in no more than probeTime.
	probeAfter   = 60
	probeSamples = 30
	probeTime    = 30 * time.Second
	// probeRise is by how much a probe may raise what is usual, and probeJump by how much
	// when the limit has moved.
	probeRise = 1.2
	probeJump = 3
	// lowered is to which part the limit falls, or from which it rises, until it asks for
	// another probe, and probeSoon after how many windows one follows that.
	lowered   = 0.75
	probeSoon = 10
)

// gradient finds a limit by comparing how fast first tokens come lately with how
// fast they usually do (Gradient2). Where it differs from the original:
//
//   - The limit grows by half in each window at first, and again when all has been
//     well for some, once as many requests have ended as it lets in, for only then is
//     it known what they do; growth that was too much is taken back. Steps of a fifth
//     of the headroom need minutes to find a server with a hundred slots.
//   - When first tokens come very late the limit falls at once, by as many requests as
//     wait for too long (Little's law), and samples from before teach nothing.
//   - The headroom is a part of the limit: four requests are much for a server with
//     four slots, and little for one with two hundred.
//   - While requests are at the limit, first tokens also wait for each other, so that
//     their time says nothing of what is usual: it would rise with the overload, and
//     the limit with it. It is measured by a probe instead, as Envoy's filter does.
//   - When the limit fell and a probe finds that this made nothing faster, it is the
//     server that became slow, and what it does now is usual; and the other way round.
type gradient struct {
	cfg   *AdaptiveConfig
	limit float64

	long  float64 // seconds
	count int     // of windows in long

	begun time.Time // of the window
	sum   float64
	n     int
	peak  int // most under way in it

	jumped   time.Time // when the limit changed by much
	ended    int       // requests, since then
	good     int       // windows in a row that used the limit and were not slow
	patience int       // good windows that there must be before it grows
	grew     bool      // by growth, after the last window
	full     int       // windows at the limit since what is usual was measured
	known    float64   // the limit then
	highest  float64   // the highest since
	probe    probe
}

// probe measures how fast first tokens come when they do not wait for each other: it
// lets in only as many requests as had their first token when it began. Those that
// wait for theirs are served in about the time that a first token takes.
type probe struct {
	limit int // 0: there is none
	begun time.Time
	sum   float64
	n     int
}

func newGradient(cfg *AdaptiveConfig) gradient {
	return gradient{cfg: cfg, limit: float64(cfg.Initial), patience: 1, full: probeAfter, known: float64(cfg.Initial), highest: float64(cfg.Initial)}
}

// places is how many requests may be under way now.
func (g *gradient) places() int {
	if g.probe.limit > 0 {
		if time.Since(g.probe.begun) < probeTime {
			return g.probe.limit
		}
		g.conclude()
	}
	return int(g.limit)
}

// sample takes a time, and how many requests were under way, and how many of these
// still had no first byte.
func (g *gradient) sample(d time.Duration, inflight, silent int) {
	now := time.Now()
	s := d.Seconds()
	start := now.Add(-d)
	if g.places(); g.probe.limit > 0 {
		if !start.Before(g.probe.begun) {
			g.measured(s)
		}
		return
	}
	if start.Before(g.jumped) {
		return // it tells of the limit before
	}
	if g.n == 0 {
		g.begun = now
	}
	g.sum += s
	g.n++
	g.peak = max(g.peak, inflight)
	if g.n >= windowSamples && now.Sub(g.begun) >= windowTime {
		if g.step(g.sum/float64(g.n), float64(g.n)/now.Sub(g.begun).Seconds()); g.full >= probeAfter || g.full > 0 && g.moved() {
			g.probe = probe{limit: max(inflight-silent, inflight/2, g.cfg.Min), begun: now}
		}
		g.sum, g.n, g.peak = 0, 0, 0
	}
}

// moved reports whether the limit is another one than when what is usual was measured.
func (g *gradient) moved() bool {
	return g.limit <= lowered*g.highest || !g.grew && g.limit*lowered >= g.known
}

// measured takes a time of a probe.
func (g *gradient) measured(s float64) {
	g.probe.sum += s
	if g.probe.n++; g.probe.n >= probeSamples {
		g.conclude()
	}
}

// conclude ends the probe, and says anew what is usual.
func (g *gradient) conclude() {
	s := g.probe.sum / max(float64(g.probe.n), 1)
	again := probeAfter
	switch {
	case g.probe.n < probeSamples/3: // the load is gone, or requests last for long
	case g.count <= 1:
		g.long = s
	case g.moved(): // and this is not what made it faster or slower: it is the server
		g.long = min(s, probeJump*g.long)
		again = probeSoon
	default:
		g.long += (min(s, probeRise*g.long) - g.long) / 2
	}
	g.probe, g.full, g.known, g.highest = probe{}, probeAfter-again, g.limit, g.limit
}

// usual moves the long average: a plain mean at first, then exponential.
func (g *gradient) usual(s float64, full bool) {
	g.count++
	weight := 2.0 / (longWindow + 1)
	if g.count <= warmUp {
		weight = 1 / float64(g.count)
	}
	if full && g.count > 1 {
		s = min(s, g.long)
	}
	g.long += (s - g.long) * weight
}

// step moves the limit, after a window with this mean and so many samples a second.
func (g *gradient) step(short, rate float64) {
	full := g.peak >= int(g.limit)
	g.usual(short, full)
	if g.long/short > 2 { // after a long time of load, what is usual should not stay high
		g.long *= 0.95
	}
	if full {
		g.full++
	} else {
		g.full, g.known, g.highest = 0, g.limit, g.limit
	}
	if !g.grew {
		g.highest = max(g.highest, g.limit)
	}
	if float64(g.peak) < g.limit/2 || full && g.count == 1 {
		return // the limit was not what kept the load low, or what is usual is not known
	}
	before := g.limit
	g.limit = min(max(g.next(short, rate), float64(g.cfg.Min)), float64(g.cfg.Max))
	if math.Abs(g.limit-before) > before*smoothing/2 {
		g.jumped, g.ended = time.Now(), 0
	}
}

// next is the limit after such a window.
func (g *gradient) next(short, rate float64) float64 {
	slope := g.cfg.Tolerance * g.long / short
	grew := g.grew
	g.grew = false
	if slope >= 1 {
		if g.good++; g.good > g.patience && g.ended >= int(g.limit) {
			g.grew = true
			return g.limit * growth
		}
	} else {
		g.good = 0
	}
	switch {
	case slope < 1 && grew:
		g.patience = min(max(2*g.patience, goodWindows), probeAfter)
		return g.limit / growth
	case slope < 0.5: // as many as wait for too long
		g.patience = goodWindows
		return max(g.limit-rate*(short-g.cfg.Tolerance*g.long), g.limit/2)
	}
	headroom := float64(g.cfg.Headroom)
	if headroom == 0 {
		headroom = math.Max(1, g.limit/10)
	}
	return g.limit + (min(slope, 1)*g.limit+headroom-g.limit)*smoothing
}
