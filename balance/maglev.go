package balance

import (
	"cmp"
	"slices"

	"github.com/ginfer/ginfer/internal/hash"
)

// maglevSize is a prime well above a hundred times the number of endpoints.
const maglevSize = 65537

// maglev is the look-up table: the owner of each place.
type maglev struct{ table []int32 }

// newMaglev fills the table: in turns, by weight, each endpoint takes the next free place of
// its own permutation (§3.4 of the paper).
func newMaglev(endpoints []EndpointInfo) order {
	m := &maglev{}
	if len(endpoints) == 0 {
		return m
	}
	// By name, so that the order of the endpoints does not matter.
	byName := make([]int, len(endpoints))
	for i := range byName {
		byName[i] = i
	}
	slices.SortFunc(byName, func(a, b int) int { return cmp.Compare(endpoints[a].Name, endpoints[b].Name) })
	heaviest := slices.MaxFunc(endpoints, func(a, b EndpointInfo) int { return a.Weight - b.Weight }).Weight

	m.table = slices.Repeat([]int32{-1}, maglevSize)
	place := make([]uint64, len(endpoints))
	skip := make([]uint64, len(endpoints))
	credit := make([]int, len(endpoints))
	for i, e := range endpoints {
		place[i] = hash.String(2, e.Name) % maglevSize
		skip[i] = hash.String(3, e.Name)%(maglevSize-1) + 1
	}
	for filled := 0; filled < maglevSize; {
		for _, i := range byName {
			credit[i] += endpoints[i].Weight
			if credit[i] < heaviest || filled == maglevSize {
				continue
			}
			credit[i] -= heaviest
			for m.table[place[i]] >= 0 {
				place[i] = (place[i] + skip[i]) % maglevSize
			}
			m.table[place[i]] = int32(i) //nolint:gosec // a pool has fewer endpoints
			filled++
		}
	}
	return m
}

func (m *maglev) find(key uint64, c Candidates, f fit) int {
	if len(m.table) == 0 {
		return -1
	}
	at := int(key % maglevSize)
	for range min(maglevSize, 64*c.Len()) {
		if i := int(m.table[at]); f.accepts(c, i) {
			return i
		}
		if at++; at == maglevSize {
			at = 0
		}
	}
	return -1
}
