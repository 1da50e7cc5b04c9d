package balance

import (
	"net/http"
	"sync"
)

// RoundRobin returns a policy of smooth weighted round robin, as in nginx: with weights 5, 1
// and 1 the order is aabacaa. It ignores load: prefer [LeastRequest] unless all requests cost
// the same.
func RoundRobin() Policy { return roundRobin{} }

type roundRobin struct{}

func (roundRobin) Picker(endpoints []EndpointInfo) Picker {
	return &smooth{current: make([]float64, len(endpoints))}
}

type smooth struct {
	mu      sync.Mutex
	current []float64
}

// Pick raises all endpoints by their weight, picks the highest, and lowers it by the sum.
func (s *smooth) Pick(_ *http.Request, c Candidates) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	best, total := -1, 0.0
	for j := range c.view.in {
		e := &c.view.in[j]
		if c.avoided(e.node) {
			continue
		}
		i := e.index
		s.current[i] += e.weight
		total += e.weight
		if best < 0 || s.current[i] > s.current[best] {
			best = i
		}
	}
	if best >= 0 {
		s.current[best] -= total
	}
	return best
}
