package batch

import (
	"net/http"

	"github.com/ginfer/ginfer/internal/llm"
)

// usage is the number of tokens of a batch, in the format of the OpenAI API.
type usage struct {
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

// tokens adds up the usage that responses report. It estimates nothing.
type tokens struct {
	scanner llm.Scanner
	// sum is nil until a response reports its usage.
	sum *usage
}

// add adds the usage of an output line.
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
		t.sum = &usage{}
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
