package demomodel

import (
	"context"
	"math"
	"slices"
	"strings"
)

// TokenKinds of the model, for samplers.
const (
	Text    = byte(kindText)
	Control = byte(kindControl)
)

// Model is a loaded model for tests.
type Model struct{ m *model }

// Load parses weights.
func Load(data []byte) (*Model, error) {
	m, err := load(data)
	return &Model{m}, err
}

// Encode returns the tokens of s.
func (m *Model) Encode(s string) []int { return m.m.vocabulary.encode(nil, s) }

// Decode returns the text of tokens.
func (m *Model) Decode(tokens []int) string { return m.m.vocabulary.decode(tokens) }

// Context returns how many tokens the model reads at most.
func (m *Model) Context() int { return m.m.context }

// NLL returns the mean negative log likelihood of the tokens of a text, which
// must fit into the context.
func (m *Model) NLL(text string) float64 {
	d := newDecoder(m.m)
	tokens := m.m.vocabulary.encode([]int{tokenBegin}, text)
	var sum float64
	for i, next := range tokens[1:] {
		d.step(tokens[i])
		logits := d.predict()
		highest, z := slices.Max(logits), 0.0
		for _, v := range logits {
			z += math.Exp(float64(v - highest))
		}
		sum += math.Log(z) - float64(logits[next]-highest)
	}
	return sum / float64(len(tokens)-1)
}

// Generator writes texts for tests.
type Generator struct{ g *generator }

// NewGenerator returns a generator.
func (m *Model) NewGenerator() *Generator { return &Generator{newGenerator(m.m, 0)} }

// Step reads a token and chooses the next, the first of another text where one
// ends.
func (g *Generator) Step() error {
	token, err := g.g.next(context.Background(), true)
	if err == nil && token == tokenEnd {
		_, err = g.g.restart(context.Background())
	}
	return err
}

// Start prepares for steps.
func (g *Generator) Start(temperature float64) error {
	g.g.sampler.reset(sampling{temperature: temperature, topP: 0.95, seed: 1})
	_, err := g.g.read(context.Background(), []string{"A gateway"})
	return err
}

// Sampler chooses tokens for tests.
type Sampler struct{ s *sampler }

// NewSampler returns a sampler for tokens of the given kinds.
func NewSampler(kinds []byte, temperature, topP float64, seed uint64) *Sampler {
	k := make([]kind, len(kinds))
	for i := range kinds {
		k[i] = kind(kinds[i])
	}
	s := newSampler(k)
	s.reset(sampling{temperature: temperature, topP: topP, seed: seed})
	return &Sampler{s}
}

// Pick chooses among logits.
func (s *Sampler) Pick(logits []float32, mayEnd bool) int { return s.s.pick(logits, mayEnd) }

// Output returns what pieces emit, part by part, and whether a stop string
// ended them.
func Output(stop []string, trim bool, pieces ...string) (parts []string, stopped bool) {
	o := output{stop: stop, trim: trim, emit: func(s string) error {
		parts = append(parts, strings.Clone(s))
		return nil
	}}
	for _, p := range pieces {
		if stopped, _ = o.write(p); stopped {
			return parts, true
		}
	}
	_ = o.close()
	return parts, false
}

// Half converts a half float.
func Half(h uint16) float32 { return half(h) }

// Queue hands out slots for tests.
type Queue struct{ q *queue }

// NewQueue returns a queue.
func NewQueue(slots, places int) *Queue { return &Queue{newQueue(slots, places)} }

// Acquire waits for a slot.
func (q *Queue) Acquire(ctx context.Context) error { return q.q.acquire(ctx) }

// Release gives a slot back.
func (q *Queue) Release() { q.q.release() }

// Load returns how many requests run and wait.
func (q *Queue) Load() (running, waiting int) { return q.q.load() }
