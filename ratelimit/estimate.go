package ratelimit

import (
	"math"
	"sync"

	"github.com/ginfer/ginfer/internal/llm"
	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	// The estimates for an unknown model: four bytes are a token, and a choice has 256
	// tokens.
	firstRatio  = 0.25
	firstOutput = 256
	// minWeight is the weight of the latest exchange after many others.
	minWeight = 0.05
	// maxChoices bounds the choices (n) that are charged, so that one number in a request
	// can't put a key into endless debt.
	maxChoices = 128
	// minText is the least input in bytes to learn from: of a shorter one the template is
	// a large part.
	minText = 200
	// maxModels bounds the table of models, as clients choose their names.
	maxModels = 1000
)

// estimates predicts the usage of requests from past ones. It is safe for concurrent use.
type estimates struct {
	mu     sync.Mutex
	models *simplelru.LRU[string, *experience]
}

// experience is the running mean of a model's exchanges.
type experience struct {
	count  int
	ratio  float64 // tokens per byte of input
	output float64 // tokens per choice
}

func newEstimates() *estimates {
	e := new(estimates)
	e.models, _ = simplelru.NewLRU[string, *experience](maxModels, nil) // fails only for a size below 1
	return e
}

// of returns the estimated usage of a request.
func (e *estimates) of(r *llm.Request) (input, output int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	known, ok := e.models.Get(modelKey(r))
	if !ok {
		known = inexperienced()
	}
	output = int64(math.Ceil(known.output))
	if r.MaxOutput > 0 {
		output = min(output, r.MaxOutput)
	}
	return int64(math.Ceil(float64(r.InputBytes) * known.ratio)), output * min(r.N, maxChoices)
}

// learn adds the measured usage of an exchange.
func (e *estimates) learn(r *llm.Request, u *llm.Usage) {
	e.mu.Lock()
	defer e.mu.Unlock()
	known, ok := e.models.Get(modelKey(r))
	if !ok {
		known = inexperienced()
		e.models.Add(modelKey(r), known)
	}
	known.count++
	weight := max(minWeight, 1/float64(known.count+1))
	if r.InputBytes >= minText {
		known.ratio += (min(float64(u.Input)/float64(r.InputBytes), 1) - known.ratio) * weight
	}
	known.output += (float64(u.Output)/float64(min(r.N, maxChoices)) - known.output) * weight
}

func inexperienced() *experience { return &experience{ratio: firstRatio, output: firstOutput} }

// maxModelKey bounds a model's name in the table, in bytes.
const maxModelKey = 127

func modelKey(r *llm.Request) string {
	if len(r.Model) > maxModelKey {
		return ""
	}
	return r.Model
}
