package balance

import "math"

// look judges every node. It returns the view and whether the pool panics.
func (s *set) look(now int64, threshold float64, slow SlowStart) (*view, bool) {
	v := &view{usable: make([]bool, len(s.nodes)), weight: make([]float64, len(s.nodes)), expires: math.MaxInt64}
	available, present := 0, 0
	for i, n := range s.nodes {
		v.weight[i] = v.rampedWeight(n, now, slow)
		v.until(n.ejected.Load(), now)
		v.until(n.resting.Load(), now)
		if n.draining.Load() {
			continue
		}
		present++
		if n.available(now) {
			available++
		}
	}
	panicking := float64(available) < threshold*float64(present)
	for i, n := range s.nodes {
		v.usable[i] = (n.available(now) || panicking && !n.draining.Load()) && n.resting.Load() <= now
		v.tally(i)
	}
	if v.count > 0 {
		return v, panicking
	}
	// All that could be used rest, as they asked: better to ask than to refuse.
	for i, n := range s.nodes {
		v.usable[i] = n.available(now) || panicking && !n.draining.Load()
		v.tally(i)
	}
	return v, panicking
}

func (v *view) tally(i int) {
	if v.usable[i] {
		v.count++
	}
}

// until makes the view expire when something that is set to end ends.
func (v *view) until(at, now int64) {
	if at > now {
		v.expires = min(v.expires, at)
	}
}

func (v *view) rampedWeight(n *node, now int64, slow SlowStart) float64 {
	started := n.started.Load()
	if started == 0 {
		return float64(n.weight.Load())
	}
	share, over := slow.share(now - started)
	if over {
		n.started.CompareAndSwap(started, 0)
		return float64(n.weight.Load())
	}
	v.until(now+int64(slowStartStep), now)
	return float64(n.weight.Load()) * share
}
