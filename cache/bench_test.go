package cache_test

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/cache"
	"github.com/stretchr/testify/require"
)

// BenchmarkMiddleware is the cost of a request with a response that is stored, of one that is not
// yet, and of one that the cache has no part in.
func BenchmarkMiddleware(b *testing.B) {
	responses, err := cache.New(cache.Config{
		Scope: func(*gin.Context) (string, error) { return "acme", nil }, LLM: cache.LLM{TTL: time.Hour},
	})
	require.NoError(b, err)
	router := gin.New()
	router.POST("/v1/chat/completions", responses.Middleware(), func(c *gin.Context) {
		c.Data(http.StatusOK, "application/json", []byte(`{"choices":[{"message":{"role":"assistant","content":"Paris."},"finish_reason":"stop"}]}`))
	})
	n := 0
	for name, body := range map[string]func() string{
		"hit": func() string { return `{"model":"m","temperature":0,"messages":[{"role":"user","content":"Hi"}]}` },
		"miss": func() string {
			n++
			return `{"model":"m","temperature":0,"messages":[{"role":"user","content":"` + strconv.Itoa(n) + `"}]}`
		},
		"pass": func() string { return `{"model":"m","temperature":1,"messages":[{"role":"user","content":"Hi"}]}` },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				w := httptest.NewRecorder()
				req := httptest.NewRequest(http.MethodPost, "http://gateway/v1/chat/completions", strings.NewReader(body()))
				req.Header.Set("Content-Type", "application/json")
				router.ServeHTTP(w, req)
				if w.Code != http.StatusOK {
					b.Fatal(w.Code, w.Body)
				}
			}
		})
	}
}
