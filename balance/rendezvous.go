package balance

import (
	"math"

	"github.com/ginfer/ginfer/internal/hash"
)

// rendezvous compares a score of every endpoint.
type rendezvous struct {
	seeds   []uint64
	weights []float64
	equal   bool
}

func newRendezvous(endpoints []EndpointInfo) order {
	r := &rendezvous{equal: true}
	for _, e := range endpoints {
		r.seeds = append(r.seeds, hash.String(1, e.Name))
		r.weights = append(r.weights, float64(e.Weight))
		r.equal = r.equal && e.Weight == endpoints[0].Weight
	}
	return r
}

// find reads the load only of endpoints that would win.
func (r *rendezvous) find(key uint64, c Candidates, f fit) int {
	if r.equal {
		return r.highest(key, c, f)
	}
	best, highest := -1, 0.0
	for i := range c.view.in {
		e := &c.view.in[i]
		if s := r.score(key, e.index, highest); s > highest && f.takes(c, e.node, e.weight) {
			best, highest = e.index, s
		}
	}
	return best
}

// highest is find for equal weights: comparing the hash gives the same order.
func (r *rendezvous) highest(key uint64, c Candidates, f fit) int {
	best, highest := -1, uint64(0)
	for i := range c.view.in {
		e := &c.view.in[i]
		if h := hash.Mix(key ^ r.seeds[e.index]); (h > highest || best < 0) && f.takes(c, e.node, e.weight) {
			best, highest = e.index, h
		}
	}
	return best
}

// score is the logarithmic method: −w / ln(u), with u the hash in (0, 1). It returns 0 if the
// score can't be above beat: since −ln(u) ≥ 1−u, a product rules out most losers without a
// logarithm.
func (r *rendezvous) score(key uint64, i int, beat float64) float64 {
	u := (float64(hash.Mix(key^r.seeds[i])>>11) + 0.5) / (1 << 53)
	if r.weights[i] <= beat*(1-u) {
		return 0
	}
	return -r.weights[i] / math.Log(u)
}
