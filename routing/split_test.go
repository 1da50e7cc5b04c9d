package routing_test

import (
	"math/rand/v2"
	"testing"

	"github.com/ginfer/ginfer/routing"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func owner(shares []routing.Share, u float64) int {
	for _, s := range shares {
		if u < s.End {
			return s.Owner
		}
	}
	return -1
}

func measure(shares []routing.Share) map[int]float64 {
	out, begin := map[int]float64{}, 0.0
	for _, s := range shares {
		out[s.Owner] += s.End - begin
		begin = s.End
	}
	return out
}

func TestSplit(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		weights []float64
		want    []routing.Share
	}{
		"none":             {nil, nil},
		"nothing":          {[]float64{0, -1}, nil},
		"one":              {[]float64{5}, []routing.Share{{1, 0}}},
		"canary iff u<w":   {[]float64{90, 10}, []routing.Share{{.1, 1}, {1, 0}}},
		"apart":            {[]float64{80, 10, 10}, []routing.Share{{.1, 1}, {.5, 0}, {.6, 2}, {1, 0}}},
		"skips":            {[]float64{10, 60, 30}, []routing.Share{{.6, 1}, {.9, 2}, {1, 0}}},
		"around":           {[]float64{25, 25, 50}, []routing.Share{{.25, 1}, {.5, 0}, {1, 2}}},
		"a stable of zero": {[]float64{0, 50, 50}, []routing.Share{{.5, 1}, {1, 2}}},
		"not matching":     {[]float64{-1, 50, -1, 50}, []routing.Share{{.5, 3}, {1, 1}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := routing.Split(tt.weights)
			require.Len(t, got, len(tt.want))
			for i := range got {
				assert.Equal(t, tt.want[i].Owner, got[i].Owner)
				assert.InDelta(t, tt.want[i].End, got[i].End, 1e-12)
			}
		})
	}
}

// Raising one weight, the others unchanged, takes no point from its owner, and every owner
// has its share.
func TestSplitIsMonotone(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		n := 2 + r.IntN(7)
		weights := make([]float64, n)
		total := 0.0
		for i := range weights {
			weights[i] = float64(r.IntN(4) * r.IntN(100))
			total += weights[i]
		}
		if total == 0 {
			continue
		}
		before := routing.Split(weights)
		for i, got := range measure(before) {
			require.InDelta(t, weights[i]/total, got, 1e-9, "%v", weights)
		}
		raised := r.IntN(n)
		more := append([]float64(nil), weights...)
		more[raised] += 1 + float64(r.IntN(200))
		after := routing.Split(more)
		for range 200 {
			if u := r.Float64(); owner(before, u) == raised {
				require.Equal(t, raised, owner(after, u), "%v → %v at %v", weights, more, u)
			}
		}
	}
}

// Moving weight from the stable version to a small canary moves no other user.
func TestSplitTakesFromStable(t *testing.T) {
	t.Parallel()
	before := routing.Split([]float64{85, 5, 10})
	after := routing.Split([]float64{75, 15, 10})
	for i := range 10_000 {
		u := float64(i) / 10_000
		if a, b := owner(before, u), owner(after, u); a != b {
			require.Equal(t, [2]int{0, 1}, [2]int{a, b})
		}
	}
}
