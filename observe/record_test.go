package observe_test

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/observe"
	"github.com/ginfer/ginfer/observe/events"
	"github.com/ginfer/ginfer/proxy"
	"github.com/ginfer/ginfer/stream"
	"github.com/stretchr/testify/assert"
)

// The operation is known by the path of the API, whatever is in front of it.
func TestOperations(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]any{
		"/v1/chat/completions": "chat", "/openai/deployments/m/chat/completions": "chat",
		"/v1/completions": "text_completion", "/completions": "text_completion",
		"/v1/messages": "chat", "/v1/responses": "chat", "/v1/embeddings": "embeddings",
		"/v1/models": nil, "/chat": nil, "/": nil,
	} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			access, out := newAccessLog(t, observe.AccessLogConfig{})
			ask(httptest.NewRequest(http.MethodPost, path, http.NoBody), access.Middleware(), respondWith(http.StatusOK))
			assert.Equal(t, want, out.one(t)["gen_ai.operation.name"])
		})
	}
}

// Clients may send any method: only standard ones are written.
func TestMethods(t *testing.T) {
	t.Parallel()
	for sent, want := range map[string]string{
		http.MethodGet: "GET", http.MethodHead: "HEAD", http.MethodPut: "PUT", http.MethodPatch: "PATCH", http.MethodDelete: "DELETE",
		http.MethodOptions: "OPTIONS", http.MethodTrace: "TRACE", "PROPFIND": "_OTHER", "get": "_OTHER", "X-FORGED": "_OTHER",
	} {
		t.Run(sent, func(t *testing.T) {
			t.Parallel()
			access, out := newAccessLog(t, observe.AccessLogConfig{})
			metrics, reader := newMetrics(t, observe.MetricsConfig{})
			ask(httptest.NewRequest(sent, "/", http.NoBody), access.Middleware(), metrics.Middleware(), respondWith(http.StatusOK))
			assert.Equal(t, want, out.one(t)["http.request.method"])
			assert.Equal(t, map[string]bool{want: true}, values(collect(t, reader), "http.request.method"))
		})
	}
}

// The protocol's version and the scheme are those of the connection.
func TestProtocols(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		major, minor    int
		tls             bool
		version, scheme string
	}{
		"HTTP/1.0":           {1, 0, false, "1.0", "http"},
		"HTTP/1.1":           {1, 1, false, "1.1", "http"},
		"HTTP/1.1 over TLS":  {1, 1, true, "1.1", "https"},
		"HTTP/2":             {2, 0, true, "2", "https"},
		"HTTP/2 without TLS": {2, 0, false, "2", "http"},
		"HTTP/3":             {3, 0, true, "3", "https"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			access, out := newAccessLog(t, observe.AccessLogConfig{})
			metrics, reader := newMetrics(t, observe.MetricsConfig{})
			tracing, spans := newTracing(t, observe.TracingConfig{})
			req := post()
			req.ProtoMajor, req.ProtoMinor = tt.major, tt.minor
			if tt.tls {
				req.TLS = new(tls.ConnectionState)
			}
			ask(req, access.Middleware(), tracing.Middleware(), metrics.Middleware(), respondWith(http.StatusOK))
			assert.Equal(t, tt.version, out.one(t)["network.protocol.version"])
			all := collect(t, reader)
			assert.Equal(t, map[string]bool{tt.version: true}, values(all, "network.protocol.version"))
			assert.Equal(t, map[string]bool{tt.scheme: true}, values(all, "url.scheme"))
			got := attrs(spans.GetSpans()[0].Attributes)
			assert.Equal(t, tt.version, got["network.protocol.version"])
			assert.Equal(t, tt.scheme, got["url.scheme"])
		})
	}
}

// Of several attempts the one that responded has the tokens, whichever reports last.
func TestUsageOfSeveralAttempts(t *testing.T) {
	t.Parallel()
	complete := stream.Usage{Model: "complete", Outcome: stream.Complete, Output: 9}
	canceled := stream.Usage{Model: "canceled", Outcome: stream.Canceled, Output: 5}
	failed := stream.Usage{Model: "failed", Outcome: stream.Failed, Output: 1}
	second := stream.Usage{Model: "second", Outcome: stream.Failed, Output: 2}
	for name, tt := range map[string]struct {
		reports []stream.Usage
		want    string
	}{
		"retry":                    {[]stream.Usage{failed, complete}, "complete"},
		"hedge, the loser is late": {[]stream.Usage{complete, canceled}, "complete"},
		"hedge, the loser first":   {[]stream.Usage{canceled, complete}, "complete"},
		"disconnect after a retry": {[]stream.Usage{failed, canceled}, "canceled"},
		"a failure after it":       {[]stream.Usage{canceled, failed}, "canceled"},
		"all failed":               {[]stream.Usage{failed, second}, "second"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			access, out := newAccessLog(t, observe.AccessLogConfig{})
			ask(post(), access.Middleware(), func(c *gin.Context) {
				for _, u := range tt.reports {
					events.Hooks{}.Usage(c.Request.Context(), u)
				}
			})
			got := out.one(t)
			assert.Equal(t, tt.want, got["gen_ai.response.model"])
			assert.Equal(t, tt.reports[0].Model, got["gen_ai.request.model"], "without a decision, the first model")
		})
	}
}

// Without an exchange the first byte of the body counts; heartbeats do not.
func TestFirstByte(t *testing.T) {
	t.Parallel()
	write := func(text string) gin.HandlerFunc {
		return func(c *gin.Context) { time.Sleep(time.Second); _, _ = c.Writer.Write([]byte(text)) }
	}
	writeString := func(text string) gin.HandlerFunc {
		return func(c *gin.Context) { time.Sleep(time.Second); _, _ = c.Writer.WriteString(text) }
	}
	for name, tt := range map[string]struct {
		writes []gin.HandlerFunc
		want   any
	}{
		"body":               {[]gin.HandlerFunc{write("a"), write("b")}, 1000.0},
		"string":             {[]gin.HandlerFunc{writeString("a"), write("b")}, 1000.0},
		"heartbeats first":   {[]gin.HandlerFunc{write(": ping\n\n"), writeString(": ping\n\n"), write("data: a\n\n")}, 3000.0},
		"heartbeats, string": {[]gin.HandlerFunc{write(": ping\n\n"), writeString("data: a\n\n")}, 2000.0},
		"empty writes":       {[]gin.HandlerFunc{write(""), writeString(""), write("a")}, 3000.0},
		"heartbeats only":    {[]gin.HandlerFunc{write(": ping\n\n")}, nil},
		"no body":            {nil, nil},
		"the exchange's": {[]gin.HandlerFunc{write("a"), func(c *gin.Context) {
			events.Hooks{}.Proxy(c.Request.Context(), proxy.Event{Kind: proxy.Finished, FirstByte: 400 * time.Millisecond, Duration: time.Second})
		}}, 400.0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				access, out := newAccessLog(t, observe.AccessLogConfig{})
				ask(post(), append([]gin.HandlerFunc{access.Middleware()}, tt.writes...)...)
				assert.Equal(t, tt.want, out.one(t)["first_byte_ms"])
			})
		})
	}
}

// Route names the route of requests without a template, for every signal.
func TestRoute(t *testing.T) {
	t.Parallel()
	access, out := newAccessLog(t, observe.AccessLogConfig{})
	metrics, reader := newMetrics(t, observe.MetricsConfig{})
	tracing, spans := newTracing(t, observe.TracingConfig{})
	recent := newRecent(t, observe.RecentConfig{})
	chain := []gin.HandlerFunc{access.Middleware(), tracing.Middleware(), metrics.Middleware(), recent.Middleware()}
	unknown := func() *http.Request { return httptest.NewRequest(http.MethodGet, "/files/17", http.NoBody) }
	ask(unknown(), append(chain, observe.Route("files"), respondWith(http.StatusOK))...)
	ask(unknown(), append(chain, respondWith(http.StatusNotFound))...)
	all := out.all(t)
	assert.Equal(t, "files", all[0]["http.route"])
	assert.NotContains(t, all[1], "http.route")
	assert.Equal(t, map[string]bool{"files": true}, values(collect(t, reader), "http.route"))
	assert.Equal(t, "GET files", spans.GetSpans()[0].Name)
	assert.Equal(t, "GET", spans.GetSpans()[1].Name, "not the path")
	newest := recent.Newest(2)
	assert.Equal(t, []string{"", "files"}, []string{newest[0].Route, newest[1].Route})

	plain := httptest.NewRecorder()
	e := gin.New()
	e.GET("/", observe.Route("unused"), respondWith(http.StatusNoContent))
	e.ServeHTTP(plain, httptest.NewRequest(http.MethodGet, "/", http.NoBody))
	assert.Equal(t, http.StatusNoContent, plain.Code, "without a middleware it has no effect")
}

// Events outside of any request are counted, and change no record.
func TestEventsWithoutRequest(t *testing.T) {
	t.Parallel()
	metrics, reader := newMetrics(t, observe.MetricsConfig{})
	h := events.Hooks{Metrics: metrics}
	ctx := context.Background()
	h.Usage(ctx, stream.Usage{Model: "m", Outcome: stream.Complete, Status: 200})
	h.Token(ctx, time.Millisecond)
	h.Proxy(ctx, proxy.Event{Kind: proxy.AttemptEnded, Attempt: 1})
	h.Stream(ctx, stream.Event{})
	assert.Empty(t, observe.RequestID(ctx))
	assert.Equal(t, map[string]bool{"_OTHER": true}, values(collect(t, reader), "http.request.method"))
}
