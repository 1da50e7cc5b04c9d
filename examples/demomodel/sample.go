package demomodel

import (
	"math"
	"math/rand/v2"
)

// topK is how many tokens a sampler chooses from at most.
const topK = 40

// sampling has the parameters of token selection.
type sampling struct {
	temperature float64 // 0 takes the likeliest
	topP        float64
	seed        uint64
}

// sampler chooses tokens. It allocates nothing after construction.
type sampler struct {
	sampling
	kinds  []kind
	source *rand.PCG
	rand   *rand.Rand
	best   [topK]choice
}

// choice is a token with its score, later its weight.
type choice struct {
	token int
	value float64
}

func newSampler(kinds []kind) *sampler {
	source := rand.NewPCG(0, 0)
	return &sampler{kinds: kinds, source: source, rand: rand.New(source)} //nolint:gosec // repeatable by design
}

// reset prepares for a new text.
func (s *sampler) reset(with sampling) {
	s.sampling = with
	s.source.Seed(with.seed, 0x9e3779b97f4a7c15)
}

// pick chooses among logits. The end of the text is only chosen where mayEnd
// is set, and other tokens without text never.
func (s *sampler) pick(logits []float32, mayEnd bool) int {
	if s.temperature == 0 {
		return s.top(logits, 1, mayEnd)[0].token
	}
	return s.draw(s.top(logits, topK, mayEnd))
}

// top returns the n tokens with the highest scores, highest first. There is
// always one, even if no score is a number.
func (s *sampler) top(logits []float32, n int, mayEnd bool) []choice {
	best := s.best[:0]
	for token, score := range logits {
		value := finite(float64(score))
		if len(best) == n && value <= best[n-1].value {
			continue
		}
		if k := s.kinds[token]; k != kindText && k != kindByte && (token != tokenEnd || !mayEnd) {
			continue
		}
		if len(best) < n {
			best = best[:len(best)+1]
		}
		at := len(best) - 1
		for ; at > 0 && best[at-1].value < value; at-- {
			best[at] = best[at-1]
		}
		best[at] = choice{token, value}
	}
	return best
}

// finite replaces NaN and infinities.
func finite(v float64) float64 {
	if math.IsNaN(v) {
		return -math.MaxFloat32
	}
	return min(max(v, -math.MaxFloat32), math.MaxFloat32)
}

// draw chooses by chance among the likeliest that make up topP of the whole.
func (s *sampler) draw(best []choice) int {
	highest, sum := best[0].value, 0.0
	for i := range best {
		best[i].value = math.Exp((best[i].value - highest) / s.temperature)
		sum += best[i].value
	}
	limit, kept := s.topP*sum, 0.0
	for i := range best {
		kept += best[i].value
		if kept >= limit {
			best = best[:i+1]
			break
		}
	}
	at := s.rand.Float64() * kept
	for _, c := range best {
		if at -= c.value; at < 0 {
			return c.token
		}
	}
	return best[0].token // rounding
}
