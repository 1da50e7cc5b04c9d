package balance

import (
	"net/http"
	"sync/atomic"
)

const (
	// muchSlower is the factor from which an endpoint is remembered as slow. Without that it
	// would be as good as unknown as soon as it has no streams, and get another one.
	muchSlower = 4
	// noLonger is the factor below which it is forgotten.
	noLonger = 3
	// lately is the number of recent events that there are until 0.3 s after one: the time
	// between events is then known.
	lately = 0.5
	// firstProbe is the number of the pool's requests after which a remembered endpoint gets
	// one, to see whether it is still slow. It doubles each time, up to lastProbe.
	firstProbe, lastProbe = 250, 2000
)

// slow is what is remembered of an endpoint that was much slower than the mean. It is guarded
// by the pace's lock.
type slow struct {
	factor float64 // 0: it was not
	every  int64   // requests between probes
	next   int64   // the count of the pool's requests at which the next probe is due
}

// remember returns the factor for picks, and whether a probe is due. requests is the count of
// the pool's requests.
func (p *pace) remember(s seen, mean float64, requests int64) (float64, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	factor := s.factor(mean)
	switch raw := mean * s.seconds / max(s.events, faintest); {
	case raw < noLonger && s.isEnough():
		p.slow = slow{}
	case factor < muchSlower || s.events < lately: // nothing new
	case p.slow.factor == 0:
		p.slow = slow{factor: max(raw, muchSlower), every: firstProbe, next: requests + firstProbe}
	default:
		p.slow.factor = max(raw, muchSlower)
	}
	isDue := p.slow.factor > 0 && requests >= p.slow.next && p.waiting.Len() == 0 && p.blocked == 0
	return max(factor, p.slow.factor), isDue
}

// isEnough reports whether the observations prove that an endpoint is slow no longer.
func (s seen) isEnough() bool {
	return s.events >= eventPrior || s.events >= 1 && s.seconds >= pacePrior
}

// probed schedules the next probe.
func (p *pace) probed(requests int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.slow.every = min(2*p.slow.every, lastProbe)
	p.slow.next = requests + p.slow.every
}

// probe returns an endpoint that was much slower and must be tried again, or -1. Only a stream
// shows how fast an endpoint is.
func (s *set) probe(req *http.Request, c Candidates) int {
	due := s.paces.due.Load()
	if due == 0 || !c.Usable(int(due)-1) || !wantsStream(req) || !s.paces.due.CompareAndSwap(due, 0) {
		return -1
	}
	s.nodes[due-1].pace.probed(s.requests())
	return int(due) - 1
}

// requests returns the number of requests to all nodes.
func (s *set) requests() (sum int64) {
	for _, n := range s.nodes {
		sum += n.requests.Load()
	}
	return sum
}

// paces is the time at which the endpoints of a set were last compared, and the endpoint that
// is due for a probe, counted from 1; 0: none.
type paces struct{ last, due atomic.Int64 }
