package proxy_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/proxy"
	"github.com/stretchr/testify/require"
)

// fixed is an upstream that sends the same response to every request.
type fixed struct{ contentType, body string }

func (f fixed) RoundTrip(req *http.Request) (*http.Response, error) {
	_, _ = io.Copy(io.Discard, req.Body)
	_ = req.Body.Close()
	return &http.Response{
		Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: req,
		Header: http.Header{"Content-Type": {f.contentType}}, Body: io.NopCloser(strings.NewReader(f.body)), ContentLength: int64(len(f.body)),
	}, nil
}

// BenchmarkHandler is the proxy's own cost of a request, without connections.
func BenchmarkHandler(b *testing.B) {
	const completion = `{"choices":[{"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":12}}`
	const event = `data: {"choices":[{"index":0,"delta":{"content":"word "},"finish_reason":null}]}` + "\n\n"
	for name, upstream := range map[string]fixed{
		"json":          {"application/json", completion},
		"stream of 100": {"text/event-stream", strings.Repeat(event, 100) + "data: [DONE]\n\n"},
	} {
		b.Run(name, func(b *testing.B) {
			p, err := proxy.New(proxy.Config{Transport: upstream})
			require.NoError(b, err)
			router := gin.New()
			router.POST("/v1/chat/completions", p.Handler())
			b.ReportAllocs()
			for b.Loop() {
				w := httptest.NewRecorder()
				req := httptest.NewRequest(http.MethodPost, "http://gateway/v1/chat/completions", strings.NewReader(`{"model":"m","messages":[]}`))
				req.Header.Set("Content-Type", "application/json")
				router.ServeHTTP(w, req)
				if w.Code != http.StatusOK {
					b.Fatal(w.Code, w.Body)
				}
			}
		})
	}
}
