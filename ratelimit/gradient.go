package ratelimit

import (
	"math"
	"time"
)

const (
	// A step uses the samples of a window: at least a second, and at least twenty.
	windowTime    = time.Second
	windowSamples = 20
	// longWindow is the number of windows in the average of the usual time, after warmUp.
	longWindow = 600
	warmUp     = 10
	smoothing  = 0.2
	// growth is the factor by which the limit rises per window while it is not known to be
	// too high: at first, and after goodWindows good windows.
	growth      = 1.5
	goodWindows = 5
	// probeAfter is the number of windows at the limit after which a probe measures the
	// usual time, with probeSamples samples, within probeTime.
	probeAfter   = 60
	probeSamples = 30
	probeTime    = 30 * time.Second
	// probeRise is the most by which a probe may raise the usual time, and probeJump the
	// most after the limit has moved.
	probeRise = 1.2
	probeJump = 3
	// lowered is the ratio of two limits at which the limit has moved and another probe is
	// due, and probeSoon the number of windows until the one after that.
	lowered   = 0.75
	probeSoon = 10
)

// gradient finds the limit by comparing the present time to first token with the usual one
// (Gradient2). It differs from the original:
//
//   - At first, and again after some good windows, the limit grows by half per window, once
//     as many requests have ended as it lets in, as only then their effect is known. Growth
//     that was too much is undone. Steps of a fifth of the headroom would take minutes to
//     find a server with a hundred slots.
//   - When first tokens are very late, the limit falls at once by the number of requests that
//     wait for too long (Little's law), and earlier samples are ignored.
//   - The headroom is a part of the limit: four requests are many for a server with four
//     slots, and few for one with two hundred.
//   - At the limit, first tokens wait for each other, so that their time is not the usual
//     one: it would rise with the overload, and the limit with it. A probe measures it
//     instead, as Envoy's filter does.
//   - If the limit fell and a probe finds the same times as before, the server became slow,
//     and its times are usual now; and vice versa.
type gradient struct {
	cfg   *AdaptiveConfig
	limit float64

	long  float64 // seconds
	count int     // of windows in long

	begun time.Time // of the window
	sum   float64
	n     int
	peak  int // most requests in flight in the window

	jumped   time.Time // time of the last large change of the limit
	ended    int       // requests ended since then
	good     int       // consecutive windows at the limit that were not slow
	patience int       // good windows before the limit grows
	grew     bool      // the last window ended with growth
	full     int       // windows at the limit since the last probe
	known    float64   // the limit at the last probe
	highest  float64   // the highest limit since then
	probe    probe
}

// probe measures the time to first token without queueing: it limits requests to the number
// that had their first token when it began. The others are served within about the time to
// first token.
type probe struct {
	limit int // 0: no probe
	begun time.Time
	sum   float64
	n     int
}

func newGradient(cfg *AdaptiveConfig) gradient {
	return gradient{cfg: cfg, limit: float64(cfg.Initial), patience: 1, full: probeAfter, known: float64(cfg.Initial), highest: float64(cfg.Initial)}
}

// slots returns the number of requests that may be in flight now.
func (g *gradient) slots() int {
	if g.probe.limit > 0 {
		if time.Since(g.probe.begun) < probeTime {
			return g.probe.limit
		}
		g.conclude()
	}
	return int(g.limit)
}

// sample adds a time to first token, with the number of requests in flight and the number of
// these without a first byte.
func (g *gradient) sample(d time.Duration, inflight, silent int) {
	now := time.Now()
	s := d.Seconds()
	start := now.Add(-d)
	if g.slots(); g.probe.limit > 0 {
		if !start.Before(g.probe.begun) {
			g.measured(s)
		}
		return
	}
	if start.Before(g.jumped) {
		return // it belongs to the limit before
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

// moved reports whether the limit has changed much since the last probe.
func (g *gradient) moved() bool {
	return g.limit <= lowered*g.highest || !g.grew && g.limit*lowered >= g.known
}

// measured adds a sample of a probe.
func (g *gradient) measured(s float64) {
	g.probe.sum += s
	if g.probe.n++; g.probe.n >= probeSamples {
		g.conclude()
	}
}

// conclude ends the probe and sets the usual time.
func (g *gradient) conclude() {
	s := g.probe.sum / max(float64(g.probe.n), 1)
	next := probeAfter
	switch {
	case g.probe.n < probeSamples/3: // the load is gone, or requests are long
	case g.count <= 1:
		g.long = s
	case g.moved(): // the server became faster or slower, not the queue
		g.long = min(s, probeJump*g.long)
		next = probeSoon
	default:
		g.long += (min(s, probeRise*g.long) - g.long) / 2
	}
	g.probe, g.full, g.known, g.highest = probe{}, probeAfter-next, g.limit, g.limit
}

// usual updates the long average: a plain mean at first, then exponential.
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

// step updates the limit after a window with this mean time and rate of samples per second.
func (g *gradient) step(short, rate float64) {
	full := g.peak >= int(g.limit)
	g.usual(short, full)
	if g.long/short > 2 { // after a long load the usual time should not stay high
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
		return // the limit did not bound the load, or the usual time is unknown
	}
	before := g.limit
	g.limit = min(max(g.next(short, rate), float64(g.cfg.Min)), float64(g.cfg.Max))
	if math.Abs(g.limit-before) > before*smoothing/2 {
		g.jumped, g.ended = time.Now(), 0
	}
}

// next returns the limit after such a window.
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
	case slope < 0.5: // by the requests that wait for too long
		g.patience = goodWindows
		return max(g.limit-rate*(short-g.cfg.Tolerance*g.long), g.limit/2)
	}
	headroom := float64(g.cfg.Headroom)
	if headroom == 0 {
		headroom = math.Max(1, g.limit/10)
	}
	return g.limit + (min(slope, 1)*g.limit+headroom-g.limit)*smoothing
}
