package demomodel_test

import (
	"math"
	"os"
	"strings"
	"testing"

	"github.com/ginfer/ginfer/examples/demomodel"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const sample = "A gateway stands in front of your model servers and decides who may ask what. It checks the caller, picks a healthy server, and passes the answer on as it is written."

// weights returns a bundled weights file.
func weights(tb testing.TB, version string) []byte {
	tb.Helper()
	data, err := os.ReadFile("weights/" + version + ".bin")
	require.NoError(tb, err)
	return data
}

// bundled returns a bundled model.
func bundled(tb testing.TB, version string) *demomodel.Model {
	tb.Helper()
	m, err := demomodel.Load(weights(tb, version))
	require.NoError(tb, err)
	return m
}

// The expected losses are those of an independent decoder. The first text is of
// the corpus, the second like its stories, the third unknown.
func TestLosses(t *testing.T) {
	t.Parallel()
	v1, v2 := bundled(t, "v1"), bundled(t, "v2")
	for _, tc := range []struct {
		text   string
		v1, v2 float64
	}{
		{sample, 0.325, 0.190},
		{"Once upon a time a curious hedgehog lived in a garden with high walls.", 2.759, 2.567},
		{"Read reads up to len(b) bytes from the File and stores them in b.", 9.600, 9.446},
	} {
		assert.InDelta(t, tc.v1, v1.NLL(tc.text), 0.01, tc.text)
		assert.InDelta(t, tc.v2, v2.NLL(tc.text), 0.01, tc.text)
	}
}

func TestHalf(t *testing.T) {
	t.Parallel()
	for in, want := range map[uint16]float64{
		0x0000: 0,
		0x3c00: 1,
		0xc000: -2,
		0x3555: 0.333251953125,
		0x7bff: 65504,
		0x0400: math.Ldexp(1, -14), // the smallest normal
		0x03ff: math.Ldexp(1023, -24),
		0x0001: math.Ldexp(1, -24), // the smallest subnormal
		0x8001: -math.Ldexp(1, -24),
	} {
		assert.InDelta(t, want, float64(demomodel.Half(in)), 0, "%#04x", in)
	}
	assert.True(t, math.Signbit(float64(demomodel.Half(0x8000))))
}

// The expected tokens are those of SentencePiece's algorithm: the best pair
// anywhere is merged first.
func TestEncode(t *testing.T) {
	t.Parallel()
	m := bundled(t, "v2")
	for _, tc := range []struct {
		name, text string
		want       []string
	}{
		{"empty", "", nil},
		{"word", "the", []string{" the"}},
		{"words", "picks a healthy server", []string{" picks", " a", " healthy", " server"}},
		{"repeated", "tttt", []string{" t", "t", "t", "t"}},
		{"byte fallback", "\n", []string{" ", "\n"}},
		{"space mark", "▁", []string{" ", "\xe2", "\x96", "\x81"}},
		{"emoji", "😀", []string{" ", "\xf0", "\x9f", "\x98", "\x80"}},
		{"not UTF-8", "\xff", []string{" ", "\xff"}},
		{"name of a byte", "<0x41>", []string{" ", "<", "0", "x", "4", "1", ">"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var pieces []string
			for _, id := range m.Encode(tc.text) {
				pieces = append(pieces, m.Decode([]int{id}))
			}
			assert.Equal(t, tc.want, pieces)
		})
	}
}

func TestEncodeIsFastOnLongWords(t *testing.T) {
	t.Parallel()
	m := bundled(t, "v2")
	long := strings.Repeat("in", 1<<16)
	assert.Equal(t, " "+long, m.Decode(m.Encode(long)))
}

func FuzzEncode(f *testing.F) {
	m := bundled(f, "v2")
	for _, s := range []string{"", sample, "  two  spaces ", "▁", "<s></s><0x41>", "日本\x00\xff\xc3", "😀 tab\tline\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		tokens := m.Encode(s)
		assert.LessOrEqual(t, len(tokens), len(s)+1)
		if s != "" {
			assert.Equal(t, " "+s, m.Decode(tokens))
		}
	})
}

// Steps of the model allocate nothing, slides of the context included.
func TestStepAllocatesNothing(t *testing.T) { //nolint:paralleltest // counts allocations
	m := bundled(t, "v2")
	for _, temperature := range []float64{0, 0.7} {
		g := m.NewGenerator()
		require.NoError(t, g.Start(temperature))
		assert.Zero(t, testing.AllocsPerRun(m.Context()+8, func() { _ = g.Step() }))
	}
}
