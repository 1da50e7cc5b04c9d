package batch_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ginfer/ginfer/internal/testkit/queuetest"
	"github.com/ginfer/ginfer/queue"
	"github.com/stretchr/testify/assert"
)

// The usage as each API reports it.
const (
	chatUsage      = `"choices":[{"message":{"content":"hi"}}],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":2}}`
	responsesUsage = `"output":[{"content":[{"text":"hi"}]}],"usage":{"input_tokens":20,"output_tokens":7,"total_tokens":27,"input_tokens_details":{"cached_tokens":8},"output_tokens_details":{"reasoning_tokens":3}}`
	embedUsage     = `"data":[{"embedding":[0.5,0.25]}],"usage":{"prompt_tokens":3,"total_tokens":3}`
	noUsage        = `"results":[{"flagged":false}]`
)

// A batch reports its model, and the tokens of all its responses.
func TestBatchUsage(t *testing.T) {
	t.Parallel()
	responses := []string{chatUsage, responsesUsage, embedUsage, noUsage}
	var tried atomic.Int64
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) {
		cfg.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			info, _ := queue.FromContext(r.Context())
			w.Header().Set("Content-Type", "application/json")
			if tried.Add(1); info.Attempt == 1 && info.Line%3 == 0 {
				w.WriteHeader(http.StatusServiceUnavailable) // with a usage, but it is no result
			}
			_, _ = fmt.Fprintf(w, `{"model":"other",%s}`, responses[info.Line%len(responses)])
		})
	})
	got := a.Ended(a.Batch(queuetest.Lines(400)))
	assert.Equal(t, [3]int{400, 400, 0}, got.Counts())
	assert.Greater(t, tried.Load(), int64(400))
	assert.Equal(t, "m", got.Str("model"), "the requested model")
	assert.Equal(t, [5]int{3300, 1200, 1200, 500, 4500}, got.Tokens(), "of each line once")
	listed := a.Want(http.StatusOK, http.MethodGet, "/v1/batches", "")["data"].([]any)[0].(map[string]any)
	assert.Equal(t, got["usage"], listed["usage"])
}

// The usage of a failed line counts too: its owner pays for it.
func TestBatchUsageOfFailures(t *testing.T) {
	t.Parallel()
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) {
		cfg.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"error":{"message":"No."},`+chatUsage+`}`)
		})
	})
	got := a.Ended(a.Batch(queuetest.Lines(2)))
	assert.Equal(t, [3]int{2, 0, 2}, got.Counts())
	assert.Equal(t, [5]int{20, 8, 10, 4, 30}, got.Tokens())
}

// Nothing is estimated: neither an unreported usage, nor one model of several.
func TestBatchUsageUnknown(t *testing.T) {
	t.Parallel()
	g := queuetest.NewGate()
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) { cfg.Handler = g })
	id := a.Batch(queuetest.Lines(3) + strings.Replace(strings.Replace(queuetest.Lines(1), `"m"`, `"other"`, 1), "r0", "r3", 1))
	a.UnderWay(g, id)
	assert.NotContains(t, a.Want(http.StatusOK, http.MethodGet, "/v1/batches/"+id, ""), "usage", "not before its end")
	close(g.Open)
	got := a.Ended(id)
	assert.Equal(t, "completed", got.Str("status"))
	assert.NotContains(t, got, "usage")
	assert.NotContains(t, got, "model")
}
