package balance

import "math"

// never is the expiry of a view that is valid until something changes.
const never = math.MaxInt64

// view is the set of usable endpoints, until something changes.
type view struct {
	usable  []bool
	weight  []float64
	in      []candidate // the usable ones, side by side for the policies' loops
	total   float64     // of their weights
	ramping bool        // a weight is reduced by a slow start
	expires int64       // unix ns; 0: out of date
}

// candidate is a usable endpoint, with the values that a policy compares.
type candidate struct {
	node    *node
	index   int
	weight  float64
	inverse float64 // 1/weight: a product is faster than a division
}

// look judges every node. It returns the view and whether the pool panics.
func (s *set) look(now int64, threshold float64, slow SlowStart) (*view, bool) {
	v := &view{usable: make([]bool, len(s.nodes)), weight: make([]float64, len(s.nodes)), expires: never}
	available, present := 0, 0
	for i, n := range s.nodes {
		v.weight[i] = v.rampedWeight(n, now, slow)
		v.until(n.ejected.Load(), now)
		v.until(n.coolingUntil.Load(), now)
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
		if n.usable(now, panicking) && n.coolingUntil.Load() <= now {
			v.add(i, n)
		}
	}
	if len(v.in) > 0 {
		return v, panicking
	}
	// All usable endpoints are cooling down: better to use them than to refuse.
	for i, n := range s.nodes {
		if n.usable(now, panicking) {
			v.add(i, n)
		}
	}
	return v, panicking
}

func (v *view) add(i int, n *node) {
	v.usable[i] = true
	v.total += v.weight[i]
	v.in = append(v.in, candidate{node: n, index: i, weight: v.weight[i], inverse: 1 / v.weight[i]})
}

// until makes the view expire at a time, if that is in the future.
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
	v.ramping = true
	v.until(now+int64(slowStartStep), now)
	return float64(n.weight.Load()) * share
}
