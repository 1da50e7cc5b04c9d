package demomodel_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/ginfer/ginfer/examples/demomodel"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Offsets in a file of tiny.
const (
	begin = 7*4 + 7 + 5 // token <s>
	end   = begin + 7 + 3
	byte0 = end + 7 + 4
	textA = byte0 + 256*(7+6)
	textB = textA + 7 + 1
)

// tiny returns the smallest possible weights: all of them 1.
func tiny() []byte {
	var b bytes.Buffer
	for _, v := range []int32{2, 1, 1, 1, 8, 3 + 256 + 2, 0} {
		_ = binary.Write(&b, binary.LittleEndian, v)
	}
	piece := func(text string, kind byte) {
		b.Write([]byte{0, 0, 0, 0, kind, byte(len(text)), 0})
		b.WriteString(text)
	}
	piece("<unk>", 2)
	piece("<s>", 3)
	piece("</s>", 3)
	for i := range 256 {
		piece(fmt.Sprintf("<0x%02X>", i), 6)
	}
	piece("a", 1)
	piece("b", 1)
	const params = 261*2 + (4*2*2 + 3*2 + 2*2) + 2
	b.Write(bytes.Repeat([]byte{0x00, 0x3c}, params))
	return b.Bytes()
}

// set returns a change of the bytes at an offset.
func set(at int, with ...byte) func([]byte) []byte {
	return func(data []byte) []byte {
		copy(data[at:], with)
		return data
	}
}

// number returns a change of a header's field.
func number(field int, v int32) func([]byte) []byte {
	return func(data []byte) []byte {
		binary.LittleEndian.PutUint32(data[4*field:], uint32(v))
		return data
	}
}

func cut(n int) func([]byte) []byte { return func(data []byte) []byte { return data[:n] } }

func TestTinyWeights(t *testing.T) {
	t.Parallel()
	s := newServer(t, demomodel.Config{Weights: tiny(), Version: "ignored", Name: "tiny"})
	r := ask(t, s, textPath, object{"model": "tiny", "prompt": "a", "max_tokens": 100, "ignore_eos": true})
	assert.Equal(t, 100, r.Usage.Completion)
}

func TestCorruptWeights(t *testing.T) {
	t.Parallel()
	size := len(tiny())
	for _, tc := range []struct {
		name   string
		change func([]byte) []byte
		want   string
	}{
		{"empty", cut(0), "header needs 28 bytes, 0 are left"},
		{"cut header", cut(27), "header needs 28 bytes, 27 are left"},
		{"format", number(6, 1), "format 1 is unknown"},
		{"dimension", number(0, 0), "dimension 0 is not in"},
		{"negative layers", number(1, -1), "layers -1 is not in"},
		{"many layers", number(1, 65), "layers 65 is not in"},
		{"no heads", number(2, 0), "heads 0 is not in"},
		{"heads", number(2, 2), "dimension 2 does not split into 2 heads"},
		{"feed-forward", number(3, math.MaxInt32), "feed-forward 2147483647 is not in"},
		{"context", number(4, 7), "context 7 is not in"},
		{"vocabulary", number(5, 258), "vocabulary 258 is not in"},
		{"more tokens than there are", number(5, 1<<16), "token 261"},
		{"cut token", cut(begin + 6), "token 1 needs 7 bytes, 6 are left"},
		{"cut piece", cut(begin + 8), "token 1 needs 3 bytes, 1 are left"},
		{"score", set(begin, 0, 0, 0xc0, 0x7f), "token 1: the score is not a number"},
		{"type", set(begin+4, 9), "token 1: type 9 is unknown"},
		{"begin", set(begin+4, 2), "tokens 1 and 2 are not control tokens"},
		{"end", set(end+4, 1), "tokens 1 and 2 are not control tokens"},
		{"byte name", set(byte0+7, []byte("<0xG0>")...), `token 3: "<0xG0>" names no byte`},
		{"short byte name", set(textA+4, 6), `token 259: "a" names no byte`},
		{"missing byte", set(byte0+4, 1), "byte token <0x00> is missing"},
		{"not UTF-8", set(textA+7, 0xff), "token 259: \"\\xff\" is empty"},
		{"twice", set(textB+7, 'a'), `token 260: "a" is there twice`},
		{"long piece", set(textA+5, 1, 2), "longer than 256 bytes"},
		{"dimensions of other weights", number(3, 2), "the weights take"},
		{"huge dimension", number(0, 4096), "the weights take"},
		{"cut weights", cut(size - 1), "the weights take"},
		{"trailing byte", func(b []byte) []byte { return append(b, 0) }, "the weights take"},
		{"infinite", set(size-2, 0x00, 0x7c), "a weight is infinite"},
		{"not a number", set(textB+8, 0x01, 0xfe), "a weight is infinite or not a number"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := demomodel.New(demomodel.Config{Weights: tc.change(tiny())})
			require.ErrorIs(t, err, demomodel.ErrWeights)
			assert.ErrorContains(t, err, tc.want)
		})
	}
}

func TestConfigErrors(t *testing.T) {
	t.Parallel()
	for _, cfg := range []demomodel.Config{{Version: "v3"}, {Version: "../v2"}, {Slots: -1}, {Delay: -1}} {
		_, err := demomodel.New(cfg)
		assert.ErrorIs(t, err, demomodel.ErrConfig)
	}
}

// Whatever loads can be run.
func FuzzLoad(f *testing.F) {
	data := tiny()
	f.Add(data)
	f.Add(data[:textA])
	f.Add(slices.Concat(data, data))
	f.Add(number(3, 2)(slices.Clone(data)))
	f.Add(set(len(data)-2, 0xff, 0x7b)(slices.Clone(data)))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := demomodel.Load(data)
		if err != nil {
			require.ErrorIs(t, err, demomodel.ErrWeights)
			return
		}
		g := m.NewGenerator()
		require.NoError(t, g.Start(0.7))
		for range 2 * min(m.Context(), 16) {
			require.NoError(t, g.Step())
		}
	})
}
