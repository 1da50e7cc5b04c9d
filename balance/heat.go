package balance

import "sync"

const (
	// heatCells is the number of counters of keys. Keys that share one are counted together.
	heatCells = 4096
	// heatWindow is the number of requests over which they are counted, up to twice as many.
	heatWindow = 1024
	// heatLeast is the number of requests from which a share is known.
	heatLeast = 128
	// hot is the number of endpoints' mean loads from which a single key is hot. No key is hot
	// while its clients are at most half as many as the endpoints and send one request at a time.
	hot = 2
	// hotBound is the load bound of a hot key, without a floor: below the mean, so that what is
	// left for other keys of its endpoints evens out.
	hotBound = 0.8
)

// heat counts the recent requests by key.
type heat struct {
	mu     sync.Mutex
	counts [heatCells]uint16
	total  int
}

// isHot counts a request, and reports whether its key alone has more than the load of two of n
// endpoints.
func (h *heat) isHot(key uint64, n int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.total >= 2*heatWindow {
		h.total = 0
		for i := range h.counts {
			h.counts[i] /= 2
			h.total += int(h.counts[i])
		}
	}
	cell := &h.counts[key%heatCells]
	*cell++
	h.total++
	return float64(*cell)*float64(n) > hot*float64(max(h.total, heatLeast))
}
