package demomodel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// ErrWeights is wrapped by the errors of [New] about weights it cannot use.
var ErrWeights = errors.New("demomodel: invalid weights")

// Limits on the dimensions, so that a broken header does not cause huge
// allocations and their products fit in 64 bits.
const (
	maxDim     = 1 << 12
	maxLayers  = 1 << 6
	maxHidden  = 1 << 14
	maxContext = 1 << 12
	maxVocab   = 1 << 16
	minContext = 8
)

// shape holds the dimensions of a model.
type shape struct {
	dim, layers, heads, hidden, context, vocab int
}

// layer holds the weights of one transformer block, matrices row by row.
type layer struct {
	attnNorm, q, k, v, out []float32
	ffnNorm, gate, up      []float32
	down                   []float32
}

// model is a parsed weights file. It is read-only after load and shared by all
// generations.
type model struct {
	shape
	vocabulary *vocabulary
	embedding  []float32
	layers     []layer
	norm       []float32
	rotary     rotary
}

// load parses a weights file: seven int32, the vocabulary, then the weights
// as half floats, all little-endian. It trusts nothing in data.
func load(data []byte) (*model, error) {
	r := &reader{data: data}
	m := &model{shape: r.shape()}
	if r.err == nil {
		r.err = m.check()
	}
	m.vocabulary = r.vocabulary(m.vocab)
	r.checkSize(m.shape)
	m.embedding = r.floats(m.vocab * m.dim)
	for range m.shape.layers {
		if r.err != nil {
			break
		}
		m.layers = append(m.layers, r.layer(m.shape))
	}
	m.norm = r.floats(m.dim)
	if r.err != nil {
		return nil, fmt.Errorf("%w: %w", ErrWeights, r.err)
	}
	m.rotary = newRotary(m.context, m.dim/m.heads)
	return m, nil
}

// check reports dimensions that the decoder cannot work with.
func (s shape) check() error {
	for _, d := range []struct {
		name            string
		value, min, max int
	}{
		{"dimension", s.dim, 2, maxDim},
		{"layers", s.layers, 1, maxLayers},
		{"heads", s.heads, 1, maxDim},
		{"feed-forward", s.hidden, 1, maxHidden},
		{"context", s.context, minContext, maxContext},
		{"vocabulary", s.vocab, firstByte + 256, maxVocab},
	} {
		if d.value < d.min || d.value > d.max {
			return fmt.Errorf("%s %d is not in [%d, %d]", d.name, d.value, d.min, d.max)
		}
	}
	if s.dim%(2*s.heads) != 0 { // rotations turn pairs of a head's values
		return fmt.Errorf("dimension %d does not split into %d heads of even size", s.dim, s.heads)
	}
	return nil
}

// params returns the number of weights.
func (s shape) params() int64 {
	d, h := int64(s.dim), int64(s.hidden)
	return int64(s.vocab)*d + int64(s.layers)*(4*d*d+3*d*h+2*d) + d
}

// reader consumes data. After its first error it returns zero values.
type reader struct {
	data []byte
	err  error
}

// next returns the next n bytes, or nil when there are fewer.
func (r *reader) next(n int, what string) []byte {
	if r.err != nil {
		return nil
	}
	if n > len(r.data) {
		r.err = fmt.Errorf("%s needs %d bytes, %d are left", what, n, len(r.data))
		return nil
	}
	b := r.data[:n]
	r.data = r.data[n:]
	return b
}

func (r *reader) shape() shape {
	b := r.next(7*4, "header")
	if b == nil {
		return shape{}
	}
	var v [7]int
	for i := range v {
		v[i] = int(int32(binary.LittleEndian.Uint32(b[4*i:]))) //nolint:gosec // the sign bit is meant as such
	}
	if v[6] != 0 {
		r.err = fmt.Errorf("format %d is unknown", v[6])
	}
	return shape{dim: v[0], layers: v[1], heads: v[2], hidden: v[3], context: v[4], vocab: v[5]}
}

func (r *reader) vocabulary(size int) *vocabulary {
	v := newVocabulary()
	for i := 0; i < size && r.err == nil; i++ {
		r.piece(v, i)
	}
	if r.err == nil {
		r.err = v.finish()
	}
	return v
}

func (r *reader) piece(v *vocabulary, i int) {
	what := fmt.Sprintf("token %d", i)
	head := r.next(7, what)
	if head == nil {
		return
	}
	score := math.Float32frombits(binary.LittleEndian.Uint32(head))
	text := r.next(int(binary.LittleEndian.Uint16(head[5:])), what)
	if r.err != nil {
		return
	}
	if err := v.add(string(text), score, kind(head[4])); err != nil {
		r.err = fmt.Errorf("%s: %w", what, err)
	}
}

// checkSize compares what is left with what the weights take, before memory is
// allocated for them.
func (r *reader) checkSize(s shape) {
	if r.err == nil && s.params()*2 != int64(len(r.data)) {
		r.err = fmt.Errorf("the weights take %d bytes, %d are left", s.params()*2, len(r.data))
	}
}

func (r *reader) layer(s shape) layer {
	square, wide := s.dim*s.dim, s.dim*s.hidden
	return layer{
		attnNorm: r.floats(s.dim),
		q:        r.floats(square),
		k:        r.floats(square),
		v:        r.floats(square),
		out:      r.floats(square),
		ffnNorm:  r.floats(s.dim),
		gate:     r.floats(wide),
		up:       r.floats(wide),
		down:     r.floats(wide),
	}
}

func (r *reader) floats(n int) []float32 {
	b := r.next(2*n, "weights")
	if b == nil {
		return nil
	}
	f := make([]float32, n)
	for i := range f {
		h := binary.LittleEndian.Uint16(b[2*i:])
		if h&0x7c00 == 0x7c00 {
			r.err = errors.New("a weight is infinite or not a number")
			return nil
		}
		f[i] = half(h)
	}
	return f
}

// half converts a finite IEEE 754 half float.
func half(h uint16) float32 {
	sign, exponent, fraction := uint32(h&0x8000)<<16, uint32(h>>10)&31, uint32(h)&1023
	if exponent == 0 { // zero or subnormal: fraction · 2⁻²⁴
		return math.Float32frombits(sign|0x3f800000) * float32(fraction) / (1 << 24)
	}
	return math.Float32frombits(sign | (exponent+127-15)<<23 | fraction<<13)
}
