//go:build ginfer_lexed

package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/ginfer/ginfer/balance"
	"github.com/ginfer/ginfer/internal/llm"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// maxLexed is the number of bytes that lexers may read per byte of requests and responses.
const maxLexed = 1.05

// counting counts the bytes of bodies.
type counting struct {
	mu sync.Mutex
	n  int64
}

func (c *counting) add(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n += int64(n)
}

// lexedKinds are requests with their responses.
func lexedKinds() map[string]struct{ temperature, stream, response string } {
	word := strings.Repeat("word ", 8)
	var events strings.Builder
	for range 200 {
		_, _ = fmt.Fprintf(&events, "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"content\":%q}}]}\n\n", word)
	}
	usage := `"usage":{"prompt_tokens":9,"completion_tokens":200}`
	stream := events.String() + "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: {\"choices\":[]," + usage + "}\n\ndata: [DONE]\n\n"
	json := fmt.Sprintf(`{"id":"c","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":%q},"finish_reason":"stop"}],%s}`, strings.Repeat(word, 200), usage)
	return map[string]struct{ temperature, stream, response string }{
		"JSON": {"1", "false", json}, "stream": {"1", "true", stream},
		"JSON that is stored": {"0", "false", json}, "stream that is stored": {"0", "true", stream},
	}
}

// With every stage on, requests and the chunks of responses are lexed once.
func TestEachByteIsLexedOnce(t *testing.T) { //nolint:paralleltest // it counts bytes
	for policy, of := range map[string]func() balance.Policy{"least request": balance.LeastRequest, "conversations": balance.PrefixAffinity, "cadence": balance.TokenRate} {
		for name, kind := range lexedKinds() {
			t.Run(policy+", "+name, func(t *testing.T) {
				var passed counting
				upstream := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					b, _ := io.ReadAll(r.Body)
					passed.add(len(b))
					passed.add(len(kind.response))
					w.Header().Set("Content-Type", "application/json")
					if kind.stream == "true" {
						w.Header().Set("Content-Type", "text/event-stream")
					}
					for line := range strings.SplitAfterSeq(kind.response, "\n\n") {
						_, _ = io.WriteString(w, line)
						_ = http.NewResponseController(w).Flush()
					}
				}))
				g := everyStage(t, of(), upstream.URL)
				before := llm.Lexed.Load()
				for i := range 10 {
					body := fmt.Sprintf(`{"model":"m","temperature":%s,"stream":%s,"messages":[{"role":"system","content":"be brief"},{"role":"user","content":"%d %s"}]}`,
						kind.temperature, kind.stream, i, strings.Repeat("text ", 2000))
					req, err := http.NewRequest(http.MethodPost, g.URL+"/v1/chat/completions", strings.NewReader(body))
					require.NoError(t, err)
					req.Header.Set("Authorization", "Bearer alice")
					req.Header.Set("Content-Type", "application/json")
					res, err := g.Client().Do(req)
					require.NoError(t, err)
					_, err = io.Copy(io.Discard, res.Body)
					require.NoError(t, err)
					require.NoError(t, res.Body.Close())
					require.Equal(t, http.StatusOK, res.StatusCode)
				}
				share := float64(llm.Lexed.Load()-before) / float64(passed.n)
				t.Logf("%.3f", share)
				assert.LessOrEqual(t, share, maxLexed)
			})
		}
	}
}
