package ratelimit

import (
	"math"
	"sync"

	"github.com/ginfer/ginfer/internal/llm"
	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	// Before anything is known of a model: four bytes are a token, and an answer has
	// 256 of them.
	firstRatio  = 0.25
	firstOutput = 256
	// leastWeight is that of the latest exchange, when many came before.
	leastWeight = 0.05
	// maxAnswers bounds what a request may ask for, so that one number in it can't
	// put a key into debt without end.
	maxAnswers = 128
	// leastText is the shortest input, in bytes, that says something of others: of a
	// shorter one the template is a large part.
	leastText = 200
	// maxModels bounds what is remembered: clients name models.
	maxModels = 1000
)

// estimates guess what requests will cost by what those before them did. It is
// safe for concurrent use.
type estimates struct {
	mu     sync.Mutex
	models *simplelru.LRU[string, *experience]
}

// experience is a running mean of a model's exchanges.
type experience struct {
	count  int
	ratio  float64 // tokens per byte of input
	output float64 // of one answer
}

func newEstimates() *estimates {
	e := new(estimates)
	e.models, _ = simplelru.NewLRU[string, *experience](maxModels, nil) // fails only for a size below 1
	return e
}

// of returns the tokens that a request is likely to take.
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
	return int64(math.Ceil(float64(r.InputBytes) * known.ratio)), output * min(r.N, maxAnswers)
}

// learn takes what an exchange took in fact.
func (e *estimates) learn(r *llm.Request, u *llm.Usage) {
	e.mu.Lock()
	defer e.mu.Unlock()
	known, ok := e.models.Get(modelKey(r))
	if !ok {
		known = inexperienced()
		e.models.Add(modelKey(r), known)
	}
	known.count++
	weight := max(leastWeight, 1/float64(known.count+1))
	if r.InputBytes >= leastText {
		known.ratio += (min(float64(u.Input)/float64(r.InputBytes), 1) - known.ratio) * weight
	}
	known.output += (float64(u.Output)/float64(min(r.N, maxAnswers)) - known.output) * weight
}

func inexperienced() *experience { return &experience{ratio: firstRatio, output: firstOutput} }

// maxModelKey is the longest name, in bytes, that is kept: clients choose names.
const maxModelKey = 127

func modelKey(r *llm.Request) string {
	if len(r.Model) > maxModelKey {
		return ""
	}
	return r.Model
}
