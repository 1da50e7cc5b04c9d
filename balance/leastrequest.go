package balance

import (
	"math/rand/v2"
	"net/http"
)

// scanLimit is up to how many endpoints are all compared; beyond it two drawn
// at random are (power of two choices, Mitzenmacher 2001). A full scan is the
// better choice where it is affordable.
const scanLimit = 64

// LeastRequest picks the endpoint with the lowest cost
//
//	(in-flight + 1) / (weight · success²)
//
// where success is the recent share of exchanges that it did not fail. Without
// that factor an endpoint that fails at once looks idle and attracts traffic (a
// black hole). Up to 64 endpoints are compared all, beyond that two at random.
// It is the default policy.
func LeastRequest() Policy { return leastRequest{} }

type leastRequest struct{}

func (leastRequest) Picker([]Static) Picker { return leastRequest{} }

func (leastRequest) Pick(_ *http.Request, c Candidates) int {
	if c.Len() <= scanLimit {
		return scan(c)
	}
	return twoChoices(c)
}

// scan compares all, beginning at random so that ties are spread.
func scan(c Candidates) int {
	n := c.Len()
	best, lowest := -1, 0.0
	offset := rand.IntN(max(n, 1))
	for j := range n {
		i := j + offset
		if i >= n {
			i -= n
		}
		if !c.Usable(i) {
			continue
		}
		if v := cost(c, i); best < 0 || v < lowest {
			best, lowest = i, v
		}
	}
	return best
}

// twoChoices draws a few times for two usable ones before it scans.
func twoChoices(c Candidates) int {
	a, b := draw(c), draw(c)
	if a < 0 || b < 0 {
		return scan(c)
	}
	if cost(c, b) < cost(c, a) {
		return b
	}
	return a
}

func draw(c Candidates) int {
	for range 8 {
		if i := rand.IntN(c.Len()); c.Usable(i) {
			return i
		}
	}
	return -1
}

func cost(c Candidates, i int) float64 {
	s := c.Success(i)
	return float64(c.Inflight(i)+1) / (c.Weight(i) * s * s)
}
