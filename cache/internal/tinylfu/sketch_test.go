package tinylfu_test

import (
	"testing"

	"github.com/ginfer/ginfer/cache/internal/tinylfu"
	"github.com/stretchr/testify/require"
)

// hash spreads small integers over 64 bits.
func hash(i int) uint64 { return uint64(i+1) * 0x9E3779B97F4A7C15 }

func TestSketchEstimates(t *testing.T) {
	s := tinylfu.NewSketch(1000)
	for i := range 100 {
		for range i % 20 {
			s.Count(hash(i))
		}
	}
	wrong := 0
	for i := range 100 {
		if want := min(i%20, 16); s.Estimate(hash(i)) != want {
			wrong++
		}
	}
	require.LessOrEqual(t, wrong, 3, "rough, but not that rough")
	require.Zero(t, s.Estimate(hash(5000)))
}

// Keys that are requested once do not fill the counters.
func TestSketchIgnoresOneHitWonders(t *testing.T) {
	s := tinylfu.NewSketch(1000)
	for i := range 5000 {
		s.Count(hash(i))
	}
	high := 0
	for i := range 1000 {
		if s.Estimate(hash(100_000+i)) > 2 {
			high++
		}
	}
	require.LessOrEqual(t, high, 100)
}

func TestSketchAges(t *testing.T) {
	s := tinylfu.NewSketch(100)
	for range 15 {
		s.Count(hash(1))
	}
	before := s.Estimate(hash(1))
	for i := range 5000 {
		s.Count(hash(1000 + i%200))
	}
	require.Less(t, s.Estimate(hash(1)), before/2)
}

func BenchmarkSketch(b *testing.B) {
	s := tinylfu.NewSketch(100_000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s.Count(hash(i))
	}
}
