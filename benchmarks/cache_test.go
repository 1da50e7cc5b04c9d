package benchmarks_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	gincache "github.com/chenyahui/gin-cache"
	"github.com/chenyahui/gin-cache/persist"
	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/cache"
	"github.com/stretchr/testify/require"
)

const (
	asked    = `{"model":"gpt-4o","messages":[{"role":"system","content":"You are a helpful assistant."},{"role":"user","content":"What is the capital of France?"}],"temperature":0,"max_tokens":100}`
	answered = `{"id":"c","object":"chat.completion","created":1,"model":"gpt-4o","choices":[{"index":0,"message":{"role":"assistant","content":"Paris."},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":20,"completion_tokens":2,"total_tokens":22}}`
)

// body is a request's body that can be read again.
type body struct{ bytes.Reader }

func (*body) Close() error { return nil }

// connected is a discard with the deadlines that a connection has.
type connected struct{ discard }

func (*connected) SetReadDeadline(time.Time) error  { return nil }
func (*connected) SetWriteDeadline(time.Time) error { return nil }

func posts(chain ...gin.HandlerFunc) http.Handler {
	gin.SetMode(gin.ReleaseMode)
	r := gin.New()
	r.POST("/v1/chat/completions", chain...)
	r.GET("/v1/chat/completions", chain...)
	return r
}

// model answers as a model would, without thinking.
func model(c *gin.Context) {
	c.Header("Cache-Control", "max-age=3600")
	c.Data(http.StatusOK, "application/json", []byte(answered))
}

// BenchmarkCacheHit is what a hit costs: of a POST to a model, of a long one, of a GET,
// and of a GET with gin-cache, which has the address for a key and no more. "nothing" is
// Gin alone with an empty handler.
func BenchmarkCacheHit(b *testing.B) {
	gin.SetMode(gin.ReleaseMode)
	ours := posts(cache.Middleware(cache.Config{Beta: -1, LLM: cache.LLM{TTL: time.Hour}}), model)
	theirs := posts(gincache.CacheByRequestURI(persist.NewMemoryStore(time.Hour), time.Hour), model)
	long := strings.Replace(asked, "What", strings.Repeat("And a long prompt. ", 3000), 1)
	for _, one := range []struct {
		name, method, body string
		h                  http.Handler
	}{
		{"nothing", http.MethodPost, asked, posts(func(*gin.Context) {})},
		{"ginfer POST 0.2 KB", http.MethodPost, asked, ours},
		{"ginfer POST 57 KB", http.MethodPost, long, ours},
		{"ginfer GET", http.MethodGet, "", ours},
		{"gin-cache GET", http.MethodGet, "", theirs},
	} {
		b.Run(one.name, func(b *testing.B) {
			h := http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer sk-0123456789abcdef"}, "User-Agent": {"bench"}}
			if one.method == http.MethodGet {
				h = http.Header{"User-Agent": {"bench"}}
			}
			w := &connected{discard{header: http.Header{}}}
			text := []byte(one.body)
			ask := func() {
				clear(w.header)
				r, err := http.NewRequestWithContext(b.Context(), one.method, "/v1/chat/completions", nil)
				if err != nil {
					b.Fatal(err)
				}
				r.Header = h
				if len(text) > 0 {
					r.Body, r.ContentLength = &body{*bytes.NewReader(text)}, int64(len(text))
				}
				one.h.ServeHTTP(w, r)
			}
			ask()
			ask()
			if strings.HasPrefix(one.name, "ginfer") {
				require.Contains(b, w.header.Get("Cache-Status"), "; hit")
			}
			b.ReportAllocs()
			for b.Loop() {
				ask()
			}
		})
	}
}
