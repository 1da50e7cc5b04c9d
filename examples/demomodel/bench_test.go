package demomodel_test

import (
	"testing"

	"github.com/ginfer/ginfer/examples/demomodel"
	"github.com/stretchr/testify/require"
)

// BenchmarkGenerate measures a single generation on one core, with the context
// slides of a long text.
func BenchmarkGenerate(b *testing.B) {
	g := bundled(b, "v2").NewGenerator()
	require.NoError(b, g.Start(0.7))
	b.ReportAllocs()
	for b.Loop() {
		if err := g.Step(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tok/s")
}

// BenchmarkGenerateShort measures a text of 64 tokens.
func BenchmarkGenerateShort(b *testing.B) {
	g := bundled(b, "v2").NewGenerator()
	b.ReportAllocs()
	for b.Loop() {
		require.NoError(b, g.Start(0.7))
		for range 64 {
			if err := g.Step(); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.N)*64/b.Elapsed().Seconds(), "tok/s")
}

func BenchmarkEncode(b *testing.B) {
	m := bundled(b, "v2")
	b.ReportAllocs()
	b.SetBytes(int64(len(sample)))
	for b.Loop() {
		m.Encode(sample)
	}
}

func BenchmarkLoad(b *testing.B) {
	data := weights(b, "v2")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := demomodel.Load(data); err != nil {
			b.Fatal(err)
		}
	}
}
