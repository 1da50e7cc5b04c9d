package demomodel

import (
	"context"
	"math"
)

// rotary holds the rotations that encode positions for the attention: for each
// position the cosines and sines of half a head's size.
type rotary struct{ cos, sin []float32 }

func newRotary(positions, size int) rotary {
	half := size / 2
	r := rotary{cos: make([]float32, positions*half), sin: make([]float32, positions*half)}
	for i := range r.cos {
		angle := float64(i/half) / math.Pow(10000, float64(i%half)/float64(half))
		r.cos[i], r.sin[i] = float32(math.Cos(angle)), float32(math.Sin(angle))
	}
	return r
}

// turn rotates the pairs of values in every head of x.
func (r rotary) turn(x []float32, position, heads int) {
	half := len(x) / heads / 2
	cos, sin := r.cos[position*half:][:half], r.sin[position*half:][:half]
	for len(x) > 0 {
		for i, c := range cos {
			a, b := x[2*i], x[2*i+1]
			x[2*i], x[2*i+1] = a*c-b*sin[i], a*sin[i]+b*c
		}
		x = x[2*half:]
	}
}

// decoder runs a model token by token. It keeps the tokens read so far and
// allocates nothing after construction. One goroutine at a time may use it.
type decoder struct {
	m      *model
	tokens []int       // read so far, at most the context
	keys   [][]float32 // per layer, a row per token
	values [][]float32

	x, h, q, mixed []float32 // of the model's dimension
	gate, up       []float32
	scores         []float32
	logits         []float32
}

func newDecoder(m *model) *decoder {
	d := &decoder{
		m:      m,
		tokens: make([]int, 0, m.context),
		x:      make([]float32, m.dim),
		h:      make([]float32, m.dim),
		q:      make([]float32, m.dim),
		mixed:  make([]float32, m.dim),
		gate:   make([]float32, m.hidden),
		up:     make([]float32, m.hidden),
		scores: make([]float32, m.context),
		logits: make([]float32, m.vocab),
	}
	for range m.layers {
		d.keys = append(d.keys, make([]float32, m.context*m.dim))
		d.values = append(d.values, make([]float32, m.context*m.dim))
	}
	return d
}

// reset forgets everything.
func (d *decoder) reset() { d.tokens = d.tokens[:0] }

// feed reads one token. When the context is full it forgets the older half and
// reads the rest again, as the positions of all change.
func (d *decoder) feed(ctx context.Context, token int) error {
	if len(d.tokens) == d.m.context {
		kept := d.tokens[len(d.tokens)/2:]
		d.reset()
		for _, t := range kept { // ahead of what step overwrites
			if err := d.feed(ctx, t); err != nil {
				return err
			}
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	d.step(token)
	return nil
}

// step reads one token; there must be room for it.
func (d *decoder) step(token int) {
	m := d.m
	position := len(d.tokens)
	d.tokens = append(d.tokens, token)
	copy(d.x, m.embedding[token*m.dim:])
	for i := range m.layers {
		l := &m.layers[i]
		d.attend(l, d.keys[i], d.values[i], position)
		normalize(d.h, d.x, l.ffnNorm)
		multiply(d.gate, l.gate, d.h)
		multiply(d.up, l.up, d.h)
		gated(d.gate, d.up)
		multiply(d.h, l.down, d.gate)
		add(d.x, d.h)
	}
}

// attend adds the attention over this token and those before it to d.x.
func (d *decoder) attend(l *layer, keys, values []float32, position int) {
	m := d.m
	at := position * m.dim
	key, value := keys[at:at+m.dim], values[at:at+m.dim]
	normalize(d.h, d.x, l.attnNorm)
	multiply(d.q, l.q, d.h)
	multiply(key, l.k, d.h)
	multiply(value, l.v, d.h)
	m.rotary.turn(d.q, position, m.heads)
	m.rotary.turn(key, position, m.heads)

	size := m.dim / m.heads
	scale := float32(1 / math.Sqrt(float64(size)))
	scores := d.scores[:position+1]
	clear(d.mixed)
	for from := 0; from < m.dim; from += size {
		q, mixed := d.q[from:from+size], d.mixed[from:from+size]
		for p := range scores {
			scores[p] = dot(q, keys[p*m.dim+from:][:size]) * scale
		}
		softmax(scores)
		for p, s := range scores {
			addScaled(mixed, values[p*m.dim+from:][:size], s)
		}
	}
	multiply(d.h, l.out, d.mixed)
	add(d.x, d.h)
}

// predict returns the scores of all candidates for the next token. They are valid
// until the next call. It is separate from step because only sampling needs it.
func (d *decoder) predict() []float32 {
	normalize(d.h, d.x, d.m.norm)
	multiply(d.logits, d.m.embedding, d.h)
	return d.logits
}
