package balance

import "net/http"

// Policy chooses an endpoint for each request. Those of this package are
// [LeastRequest], [TokenRate], [RoundRobin], [Hash] and [PrefixAffinity]; any other works as well.
type Policy interface {
	// Picker returns a picker for the endpoints, which keep their indexes for
	// the picker's life. It is called anew when the set or a weight changes.
	Picker(endpoints []EndpointInfo) Picker
}

// Picker chooses for one set of endpoints. It is called concurrently.
type Picker interface {
	// Pick returns the index of an endpoint for which c.Usable is true, or a
	// negative number when there is none.
	Pick(req *http.Request, c Candidates) int
}

// EndpointInfo is what does not change about an endpoint during a picker's life.
type EndpointInfo struct {
	// Name identifies the endpoint.
	Name string
	// Weight is its configured share, at least 1.
	Weight int
}

// Candidates is the state of a set of endpoints at the moment of a pick.
type Candidates struct {
	set   *set
	view  *view
	avoid *avoidance // nil: none is to be avoided
	now   int64      // unix ns; 0: nobody needed it yet
}

// Len is the number of endpoints, usable or not.
func (c Candidates) Len() int { return len(c.set.nodes) }

// Usable reports whether endpoint i may be picked now.
func (c Candidates) Usable(i int) bool {
	return c.view.usable[i] && !c.avoided(c.set.nodes[i])
}

// avoided reports whether n must not be picked for this request.
func (c Candidates) avoided(n *node) bool { return c.avoid != nil && c.avoid.has(n) }

// Inflight is the number of exchanges that endpoint i is busy with.
func (c Candidates) Inflight(i int) int64 { return c.set.nodes[i].inflight.Load() }

// Weight is the share of endpoint i, lower than configured while it starts slowly.
func (c Candidates) Weight(i int) float64 { return c.view.weight[i] }

// Success is the recent share of exchanges that endpoint i did not fail, in (0, 1].
func (c Candidates) Success(i int) float64 { return c.set.nodes[i].recent(&c.now) }
