package balance

import "net/http"

// Policy is a load balancing policy. Use one of [LeastRequest], [TokenRate], [RoundRobin],
// [Hash] and [PrefixAffinity], or implement your own.
type Policy interface {
	// Picker returns a picker for the endpoints, which keep their indexes for the picker's
	// life. It is called again when the set or a weight changes.
	Picker(endpoints []EndpointInfo) Picker
}

// Picker picks endpoints of one set. It must be safe for concurrent use.
type Picker interface {
	// Pick returns the index of an endpoint for which c.Usable is true, or a negative number if
	// there is none.
	Pick(req *http.Request, c Candidates) int
}

// EndpointInfo describes an endpoint to a Policy. It does not change during a picker's life.
type EndpointInfo struct {
	// Name identifies the endpoint.
	Name string
	// Weight is the configured share, at least 1.
	Weight int
}

// Candidates is the state of a set of endpoints at the time of a pick.
type Candidates struct {
	set   *set
	view  *view
	avoid *avoidance // nil: none
	now   int64      // unix ns; 0: not read yet
}

// Len returns the number of endpoints, usable or not.
func (c Candidates) Len() int { return len(c.set.nodes) }

// Usable reports whether endpoint i may be picked now.
func (c Candidates) Usable(i int) bool {
	return c.view.usable[i] && !c.avoided(c.set.nodes[i])
}

// avoided reports whether n must not be picked for this request.
func (c Candidates) avoided(n *node) bool { return c.avoid != nil && c.avoid.has(n) }

// Inflight returns the number of exchanges in progress at endpoint i.
func (c Candidates) Inflight(i int) int64 { return c.set.nodes[i].inflight.Load() }

// Weight returns the share of endpoint i, which is lower than configured during its slow start.
func (c Candidates) Weight(i int) float64 { return c.view.weight[i] }

// Success returns the recent success rate of endpoint i, in (0, 1].
func (c Candidates) Success(i int) float64 { return c.set.nodes[i].recent(&c.now) }
