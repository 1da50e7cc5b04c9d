package balance

import (
	"math"
	"math/rand/v2"
	"net/http"
	"time"
)

// scanLimit is the number of endpoints up to which all are compared. A full scan chooses better
// than a few at random, and takes less than a microsecond for 256.
const scanLimit = 256

// draws is the number of random endpoints that are compared beyond scanLimit. With two (the
// power of two choices, Mitzenmacher 2001) the slowest first tokens of TokenRate are twice as
// late as with a scan.
const draws = 8

// LeastRequest returns the default policy. It picks the endpoint with the lowest cost
//
//	(in-flight + 1) / (weight · success²)
//
// where success is the recent share of exchanges that the endpoint did not fail, relative to
// the others. It is 1 unless the endpoint fails significantly more often than they do. Without
// that factor an endpoint that fails at once looks idle and attracts traffic (a black hole). It
// compares up to 256 endpoints, beyond that eight at random.
func LeastRequest() Policy { return leastRequest{} }

type leastRequest struct{}

func (leastRequest) Picker([]EndpointInfo) Picker { return leastRequest{} }

func (leastRequest) Pick(_ *http.Request, c Candidates) int { return lowest(c, false) }

// lowest returns the endpoint with the lowest cost, with or without the pace of its streams.
func lowest(c Candidates, paced bool) int {
	if c.Len() <= scanLimit {
		return scan(c, paced)
	}
	return sample(c, paced)
}

// scan compares all, starting at random so that ties are spread.
func scan(c Candidates, paced bool) int {
	in := c.view.in
	if len(in) == 0 {
		return -1
	}
	best, least := -1, math.Inf(1)
	offset := rand.IntN(len(in)) //nolint:gosec // spreads load, is no secret
	for _, part := range [2][]candidate{in[offset:], in[:offset]} {
		for i := range part {
			e := &part[i]
			if v := e.cost(&c.now, paced); v < least && !c.avoided(e.node) {
				best, least = e.index, v
			}
		}
	}
	return best
}

// sample compares a few endpoints at random; if it can use none of them, it scans.
func sample(c Candidates, paced bool) int {
	best, least := -1, math.Inf(1)
	for range min(draws, len(c.view.in)) {
		e := &c.view.in[rand.IntN(len(c.view.in))] //nolint:gosec // spreads load, is no secret
		if v := e.cost(&c.now, paced); v < least && !c.avoided(e.node) {
			best, least = e.index, v
		}
	}
	if best < 0 {
		return scan(c, paced)
	}
	return best
}

// cost skips success while the endpoint does not fail more than the others, which is nearly
// always: that saves a division and the clock.
func (e *candidate) cost(now *int64, paced bool) float64 {
	v := float64(e.node.inflight.Load()+1) * e.inverse
	if paced {
		v *= e.node.pace.slowness()
	}
	if e.node.success.isNormal() {
		return v
	}
	if *now == 0 {
		*now = time.Now().UnixNano()
	}
	s := e.node.success.relative(*now)
	return v / (s * s)
}
