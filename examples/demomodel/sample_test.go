package demomodel_test

import (
	"math"
	"testing"

	"github.com/ginfer/ginfer/examples/demomodel"
	"github.com/stretchr/testify/assert"
)

// kinds returns an unknown and two control tokens before n of text.
func kinds(n int) []byte {
	k := []byte{2, demomodel.Control, demomodel.Control}
	for range n {
		k = append(k, demomodel.Text)
	}
	return k
}

func TestPick(t *testing.T) {
	t.Parallel()
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, tc := range []struct {
		name        string
		logits      []float32
		temperature float64
		mayEnd      bool
		want        int
	}{
		{"highest", []float32{0, 0, 0, 1, 3, 2}, 0, true, 4},
		{"first of equals", []float32{0, 0, 0, 1, 3, 3}, 0, true, 4},
		{"no control tokens", []float32{9, 9, 9, 1, 3, 2}, 0, false, 4},
		{"end", []float32{9, 9, 8, 1, 3, 2}, 0, true, 2},
		{"nothing is a number", []float32{nan, nan, nan, nan, nan, nan}, 0, true, 2},
		{"one is a number", []float32{nan, nan, nan, nan, -5, nan}, 0.5, true, 4},
		{"infinite", []float32{0, 0, 0, -inf, inf, 0}, 0.5, true, 4},
		{"all minus infinite", []float32{-inf, -inf, -inf, -inf, -inf, -inf}, 0, false, 3},
		{"tiny temperature", []float32{0, 0, 0, 1, 1.01, 1}, 1e-300, false, 4},
		{"sure", []float32{0, 0, 0, 1, 90, 1}, 1, false, 4},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(20) {
				s := demomodel.NewSampler(kinds(3), tc.temperature, 1, seed)
				assert.Equal(t, tc.want, s.Pick(tc.logits, tc.mayEnd))
			}
		})
	}
}

// counts picks many times and returns how often each token came.
func counts(logits []float32, temperature, topP float64) []int {
	s := demomodel.NewSampler(kinds(len(logits)-3), temperature, topP, 7)
	n := make([]int, len(logits))
	for range 10000 {
		n[s.Pick(logits, false)]++
	}
	return n
}

func TestPickByChance(t *testing.T) {
	t.Parallel()
	ln := func(v float64) float32 { return float32(math.Log(v)) }
	logits := []float32{0, 0, 0, ln(1), ln(6), ln(3)}

	n := counts(logits, 1, 1)
	assert.InDelta(t, 1000, n[3], 150)
	assert.InDelta(t, 6000, n[4], 150)
	assert.InDelta(t, 3000, n[5], 150)

	n = counts(logits, 0.5, 1) // weights squared
	assert.InDelta(t, 10000*36/46, n[4], 150)

	n = counts(logits, 1, 0.85) // without the last tenth
	assert.Zero(t, n[3])
	assert.InDelta(t, 6667, n[4], 150)

	assert.Equal(t, 10000, counts(logits, 2, 0.1)[4])
}

func TestPickAmongForty(t *testing.T) {
	t.Parallel()
	logits := make([]float32, 3+60)
	for i := range logits {
		logits[i] = -float32(i) / 1000
	}
	for token, n := range counts(logits, 2, 1) {
		assert.Equal(t, token >= 3 && token < 3+40, n > 0, token)
	}
}
