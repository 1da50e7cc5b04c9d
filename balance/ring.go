package balance

import (
	"cmp"
	"math/bits"
	"slices"
	"strconv"

	"github.com/ginfer/ginfer/internal/hash"
)

// maxPoints bounds a ring's memory: 24 MB.
const maxPoints = 1 << 20

// point is a virtual node.
type point struct {
	at    uint64
	owner int32
}

// ring is the points in order, with an index by their first bits, so that a look-up is a jump
// and a step or two instead of a binary search.
type ring struct {
	points []point
	index  []int32
	shift  uint
}

func newRing(endpoints []EndpointInfo, virtual int) order {
	r := &ring{}
	for i, e := range endpoints {
		n := virtualNodes(e, endpoints, virtual)
		seed := hash.String(0, e.Name)
		for v := range n {
			r.points = append(r.points, point{hash.String(seed, strconv.Itoa(v)), int32(i)})
		}
	}
	// The name decides between equal hashes, so that replicas agree.
	slices.SortFunc(r.points, func(a, b point) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(endpoints[a.owner].Name, endpoints[b.owner].Name))
	})
	r.buildIndex()
	return r
}

// virtualNodes returns the endpoint's number of points. It depends on its own weight only, so
// that other endpoints' points stay in place when one is added. Large pools and weights scale
// all down.
func virtualNodes(e EndpointInfo, endpoints []EndpointInfo, virtual int) int {
	total := 0
	for _, other := range endpoints {
		total += other.Weight * virtual
	}
	scale := 1
	for total/scale > maxPoints {
		scale *= 2 // in steps, so that a new endpoint seldom changes it
	}
	return max(e.Weight*virtual/scale, 1)
}

func (r *ring) buildIndex() {
	size := bits.Len(uint(max(len(r.points), 1)))
	r.shift = uint(64 - size)
	r.index = make([]int32, 1<<size+1)
	next := 0
	for slot := range 1 << size {
		for next < len(r.points) && r.points[next].at>>r.shift < uint64(slot) {
			next++
		}
		r.index[slot] = int32(next)
	}
}

// find walks on from the key's place, each endpoint once.
func (r *ring) find(key uint64, c Candidates, f fit) int {
	n := len(r.points)
	if n == 0 {
		return -1
	}
	start := int(r.index[key>>r.shift])
	for start < n && r.points[start].at < key {
		start++
	}
	var refused [8]int32 // most walks end within a few endpoints
	count := 0
	for step := range n {
		owner := r.points[(start+step)%n].owner
		if slices.Contains(refused[:min(count, len(refused))], owner) {
			continue
		}
		if f.accepts(c, int(owner)) {
			return int(owner)
		}
		if count < len(refused) {
			refused[count] = owner
		}
		if count++; count > 4*c.Len() {
			break
		}
	}
	return -1
}
