package routing

import (
	"cmp"
	"math/bits"
	"slices"
)

// span is a part of the unit interval, up to end, that belongs to a route.
type span struct {
	end   float64
	owner int
}

// split divides the unit interval by weight so that raising one weight never takes a point
// away from its owner. The first owner with a weight (the stable version) has what the others
// leave. Each of the others grows from its own anchor, around the points of those before it:
// when only its weight is raised, all shares before it shrink together by less than its own
// grows, so it keeps all its points. The anchors are van der Corput's sequence
// (0, ½, ¼, ¾ …), which keeps small shares apart.
//
// weights[i] belongs to owner i; a negative one has no part. A weight of zero keeps its place
// in the order, so that others need not move when it is raised.
func split(weights []float64) []span {
	total, stable := 0.0, -1
	for i, w := range weights {
		total += max(w, 0)
		if w >= 0 && stable < 0 {
			stable = i
		}
	}
	if total == 0 {
		return nil
	}
	spans := []span{{0, -1}, {1, stable}} // a border at 0 first
	anchor := uint32(0)
	for i, w := range weights {
		if i <= stable || w < 0 {
			continue
		}
		spans = claim(spans, stable, i, float64(bits.Reverse32(anchor))/(1<<32), w/total)
		anchor++
	}
	if weights[stable] == 0 {
		giveAway(spans, stable)
	}
	return merge(spans[1:])
}

// giveAway removes what rounding left to a stable owner of weight 0.
func giveAway(spans []span, stable int) {
	heir := slices.IndexFunc(spans[1:], func(s span) bool { return s.owner != stable }) + 1
	for i := range spans[1:] {
		if spans[i+1].owner == stable {
			spans[i+1].owner = spans[heir].owner
		}
		heir = i + 1
	}
}

// claim moves a share of the stable owner's points to another owner: forward from the
// anchor, and around.
func claim(spans []span, stable, owner int, anchor, share float64) []span {
	if share <= 0 {
		return spans
	}
	spans = cut(spans, anchor)
	n := len(spans) - 1
	first := slices.IndexFunc(spans, func(s span) bool { return s.end > anchor })
	for k := range n {
		i := (first-1+k)%n + 1
		if spans[i].owner != stable {
			continue
		}
		begin := spans[i-1].end
		if width := spans[i].end - begin; width <= share {
			spans[i].owner = owner
			share -= width
			continue
		}
		if begin+share > begin { // not for a rest from rounding
			spans = cut(spans, begin+share)
			spans[i].owner = owner
		}
		break
	}
	return spans
}

// cut adds a border at a point.
func cut(spans []span, at float64) []span {
	i, found := slices.BinarySearchFunc(spans, at, func(s span, at float64) int { return cmp.Compare(s.end, at) })
	if found {
		return spans
	}
	return slices.Insert(spans, i, span{at, spans[i].owner})
}

// merge removes the borders within one owner's part.
func merge(spans []span) []span {
	var out []span
	for _, s := range spans {
		if n := len(out); n > 0 && out[n-1].owner == s.owner {
			out[n-1].end = s.end
			continue
		}
		out = append(out, s)
	}
	return out
}

// ownerOf returns the owner of a point in [0, 1).
func ownerOf(spans []span, u float64) int {
	i, _ := slices.BinarySearchFunc(spans, u, func(s span, u float64) int {
		if s.end <= u {
			return -1
		}
		return 1
	})
	return spans[min(i, len(spans)-1)].owner
}
