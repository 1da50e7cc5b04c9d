package queue

import (
	"net/http"

	"github.com/ginfer/ginfer/internal/llm"
)

// batchUsage is how many tokens a batch took, as the OpenAI API has it.
type batchUsage struct {
	InputTokens  int64 `json:"input_tokens"`
	InputDetails struct {
		CachedTokens int64 `json:"cached_tokens"`
	} `json:"input_tokens_details"`
	OutputTokens  int64 `json:"output_tokens"`
	OutputDetails struct {
		ReasoningTokens int64 `json:"reasoning_tokens"`
	} `json:"output_tokens_details"`
	TotalTokens int64 `json:"total_tokens"`
}

// tokens adds up the usage that responses have. One without any counts nothing: nothing
// here is a guess.
type tokens struct {
	scanner llm.Scanner
	// sum is nil as long as no response had any.
	sum *batchUsage
}

// add takes a line as [outputLine] made it.
func (t *tokens) add(line []byte) {
	body, ok := member(line, "response")
	if ok {
		body, ok = member(body, "body")
	}
	if !ok {
		return
	}
	t.scanner.Reset(llm.Unknown, http.Header{"Content-Type": {"application/json"}})
	_, _ = t.scanner.Write(body) // it never fails
	u, known := t.scanner.Usage()
	if !known {
		return
	}
	if t.sum == nil {
		t.sum = &batchUsage{}
	}
	t.sum.InputTokens += u.Input
	t.sum.InputDetails.CachedTokens += u.Cached
	t.sum.OutputTokens += u.Output
	t.sum.OutputDetails.ReasoningTokens += u.Reasoning
	t.sum.TotalTokens += u.Input + u.Output
}

func member(object []byte, name string) ([]byte, bool) {
	at, err := llm.Member(object, name)
	return at.Of(object), err == nil
}
