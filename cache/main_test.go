package cache_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/cache"
	"github.com/ginfer/ginfer/internal/testkit/recorded"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.TestMode)
	goleak.VerifyTestMain(m)
}

func newCache(tb testing.TB, cfg cache.Config) *cache.Cache {
	tb.Helper()
	c, err := cache.New(cfg)
	require.NoError(tb, err)
	return c
}

// app returns a Gin application with a cache before every route.
func app(c *cache.Cache, handlers ...gin.HandlerFunc) *gin.Engine {
	r := gin.New()
	chain := append([]gin.HandlerFunc{c.Middleware()}, handlers...)
	r.Any("/*path", chain...)
	r.NoRoute(chain...)
	return r
}

// upstream counts the requests.
type upstream struct {
	calls  atomic.Int64
	handle gin.HandlerFunc
}

func (u *upstream) serve(c *gin.Context) {
	u.calls.Add(1)
	u.handle(c)
}

// responds returns an upstream with one response. The body may have a %d for the number of
// the call.
func responds(status int, body string, header ...string) *upstream {
	u := &upstream{}
	u.handle = func(c *gin.Context) {
		for i := 0; i+1 < len(header); i += 2 {
			c.Header(header[i], header[i+1])
		}
		b := body
		if strings.Contains(b, "%d") {
			b = fmt.Sprintf(b, u.calls.Load())
		}
		c.Writer.WriteHeader(status)
		_, _ = c.Writer.WriteString(b)
	}
	return u
}

const (
	jsonType    = "application/json"
	chatPath    = "/v1/chat/completions"
	chatJSON    = `{"id":"c%d","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hello"},"logprobs":null,"finish_reason":"stop"}],"usage":{"total_tokens":9}}`
	chatPlain   = `{"model":"m","temperature":0,"messages":[{"role":"user","content":"Hi"}]}`
	chatStream  = `{"model":"m","temperature":0,"stream":true,"messages":[{"role":"user","content":"Hi"}]}`
	usageStream = `{"model":"m","temperature":0,"stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"Hi"}]}`
)

// events returns the events that a model streams.
func events(words ...string) []string {
	all := []string{`data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}` + "\n\n"}
	for _, w := range words {
		all = append(all, fmt.Sprintf(`data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":%q},"finish_reason":null}]}`, w)+"\n\n")
	}
	return append(all, `data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`+"\n\n", "data: [DONE]\n\n")
}

const usageEvent = `data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[],"usage":{"total_tokens":9}}` + "\n\n"

// streams returns an upstream that streams events.
func streams(all ...string) *upstream {
	return &upstream{handle: func(c *gin.Context) {
		c.Header("Content-Type", "text/event-stream")
		for _, e := range all {
			_, _ = c.Writer.WriteString(e)
			c.Writer.Flush()
		}
	}}
}

// request returns a request; the header is in pairs.
func request(method, target, body string, header ...string) *http.Request {
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req := httptest.NewRequestWithContext(context.Background(), method, target, r)
	if method == http.MethodPost {
		req.Header.Set("Content-Type", jsonType)
		req.Header.Set("Authorization", "Bearer alice")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return req
}

func do(h http.Handler, req *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w
}

// post sends a request to a model.
func post(h http.Handler, body string, header ...string) *httptest.ResponseRecorder {
	return do(h, request(http.MethodPost, chatPath, body, header...))
}

// get fetches an address.
func get(h http.Handler, target string, header ...string) *httptest.ResponseRecorder {
	return do(h, request(http.MethodGet, target, "", header...))
}

func status(w *httptest.ResponseRecorder) string { return w.Header().Get("Cache-Status") }

// log collects events.
type log struct{ recorded.Events[cache.Event] }

func (l *log) of(kind cache.Kind) []cache.Event {
	return l.Where(func(one cache.Event) bool { return one.Kind == kind })
}

var errDown = errors.Join(cache.ErrUnavailable, errors.New("connection refused"))

// quiet discards the log of a server.
func quiet() *stdlog.Logger { return stdlog.New(io.Discard, "", 0) }
