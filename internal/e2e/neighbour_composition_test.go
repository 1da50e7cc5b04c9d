package e2e_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/auth"
	"github.com/ginfer/ginfer/observe"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/contrib/instrumentation/github.com/gin-gonic/gin/otelgin"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

// Behind another tracing middleware our span is its child, and the log has the trace.
func TestNeighbourTracing(t *testing.T) { //nolint:gocognit // a table
	t.Parallel()
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for name, outer := range map[string]func(http.Handler, *gin.Engine, trace.TracerProvider) http.Handler{
		"otelgin": func(h http.Handler, r *gin.Engine, p trace.TracerProvider) http.Handler {
			r.Use(otelgin.Middleware("gateway", otelgin.WithTracerProvider(p), otelgin.WithPropagators(propagation.TraceContext{})))
			return h
		},
		"otelhttp": func(h http.Handler, _ *gin.Engine, p trace.TracerProvider) http.Handler {
			return otelhttp.NewHandler(h, "gateway", otelhttp.WithTracerProvider(p), otelhttp.WithPropagators(propagation.TraceContext{}))
		},
		"none": func(h http.Handler, _ *gin.Engine, _ trace.TracerProvider) http.Handler { return h },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spans := tracetest.NewSpanRecorder()
			provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
			var log bytes.Buffer
			access, err := observe.NewAccessLog(observe.AccessLogConfig{Logger: slog.New(slog.NewTextHandler(&log, nil))})
			require.NoError(t, err)
			tracing, err := observe.NewTracing(observe.TracingConfig{TracerProvider: provider})
			require.NoError(t, err)
			var sent string
			client := http.Client{Transport: tracing.Transport(recorded(func(r *http.Request) { sent = r.Header.Get("Traceparent") }))}
			r := gin.New()
			h := outer(r, r, provider)
			r.Use(access.Middleware(), tracing.Middleware())
			r.POST("/x", func(c *gin.Context) { // with the *gin.Context as the context of a call
				req, err := http.NewRequestWithContext(c, http.MethodGet, "http://upstream.example/", nil)
				require.NoError(t, err)
				res, err := client.Do(req)
				require.NoError(t, err)
				_ = res.Body.Close()
			})
			req := httptest.NewRequest(http.MethodPost, "/x", nil)
			req.Header.Set("Traceparent", parent)
			h.ServeHTTP(httptest.NewRecorder(), req)

			byID, servers := map[trace.SpanID]sdktrace.ReadOnlySpan{}, 0
			for _, s := range spans.Ended() {
				byID[s.SpanContext().SpanID()] = s
				assert.Equal(t, "0af7651916cd43dd8448eb211c80319c", s.SpanContext().TraceID().String())
				if s.SpanKind() == trace.SpanKindServer {
					servers++
				}
			}
			assert.Equal(t, 1, servers)
			depth := 0
			for _, s := range byID {
				if s.SpanKind() != trace.SpanKindClient {
					continue
				}
				assert.Contains(t, sent, s.SpanContext().SpanID().String())
				for ok := true; ok; s, ok = byID[s.Parent().SpanID()] {
					depth++
				}
			}
			assert.Equal(t, len(byID), depth, "one line of ancestors")
			assert.Contains(t, log.String(), "trace_id=0af7651916cd43dd8448eb211c80319c")
		})
	}
}

// recorded is a RoundTripper that responds with an empty response.
type recorded func(*http.Request)

func (f recorded) RoundTrip(r *http.Request) (*http.Response, error) {
	f(r)
	return httptest.NewRecorder().Result(), nil
}

// A request that is routed again, or has a middleware on the group and on the route, is charged and
// recorded once by each.
func TestNeighbourPassesTwice(t *testing.T) {
	t.Parallel()
	for name, route := range map[string]func(r *gin.Engine, all []gin.HandlerFunc, last gin.HandlerFunc){
		"HandleContext": func(r *gin.Engine, all []gin.HandlerFunc, last gin.HandlerFunc) {
			r.Use(all...)
			r.POST("/v1/old", func(c *gin.Context) {
				c.Request.URL.Path = "/v1/chat/completions"
				r.HandleContext(c)
				c.Abort()
			})
			r.POST("/v1/chat/completions", last)
		},
		"group and route": func(r *gin.Engine, all []gin.HandlerFunc, last gin.HandlerFunc) {
			r.Group("/v1", all...).POST("/old", append(all, last)...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			var allowed, settled, identified atomic.Int64
			access, err := observe.NewAccessLog(observe.AccessLogConfig{Logger: slog.New(slog.NewTextHandler(&log, nil))})
			require.NoError(t, err)
			live, err := observe.NewLive(observe.LiveConfig{})
			require.NoError(t, err)
			recent, err := observe.NewRecent(observe.RecentConfig{})
			require.NoError(t, err)
			authn, err := auth.New(auth.Config{Verifiers: []auth.Verifier{anyone{}}, OnEvent: func(context.Context, auth.Event) { identified.Add(1) }})
			require.NoError(t, err)
			count := func(_ context.Context, e ratelimit.Event) {
				switch e.Kind { //nolint:exhaustive // the others do not occur
				case ratelimit.Allowed:
					allowed.Add(1)
				case ratelimit.Settled:
					settled.Add(e.Tokens)
				}
			}
			requests, err := ratelimit.New(ratelimit.Config{Key: auth.Subject, Rate: 0.001, Burst: 2, OnEvent: count})
			require.NoError(t, err)
			tokens, err := ratelimit.NewTokens(ratelimit.TokensConfig{Key: auth.Subject, Rate: 1, Burst: 100_000, OnEvent: count})
			require.NoError(t, err)
			concurrency, err := ratelimit.NewAdaptive(ratelimit.AdaptiveConfig{Initial: 1, Min: 1, Max: 1})
			require.NoError(t, err)
			r := gin.New()
			route(r, []gin.HandlerFunc{access.Middleware(), recent.Middleware(), live.Middleware(), authn.Middleware(), requests.Middleware(), concurrency.Middleware(), tokens.Middleware()},
				func(c *gin.Context) {
					c.Data(http.StatusOK, "application/json", []byte(`{"usage":{"prompt_tokens":50,"completion_tokens":130}}`))
				})
			for i, want := range []int{200, 200, 429} {
				w := httptest.NewRecorder()
				req := httptest.NewRequest(http.MethodPost, "/v1/old", strings.NewReader(`{"model":"m","messages":[],"max_tokens":10}`))
				req.Header.Set("Content-Type", "application/json")
				r.ServeHTTP(w, req)
				require.Equal(t, want, w.Code, "%d %s", i, w.Body)
			}
			assert.EqualValues(t, 4, allowed.Load(), "two requests by two limiters")
			assert.EqualValues(t, 360, settled.Load())
			assert.EqualValues(t, 3, identified.Load())
			assert.Equal(t, 3, strings.Count(log.String(), "msg=request"), log.String())
			assert.Len(t, recent.Newest(10), 3)
			assert.Zero(t, live.Snapshot().Inflight)
		})
	}
}

// anyone takes every request for the same caller's.
type anyone struct{}

func (anyone) Verify(*http.Request) (*auth.Identity, error) {
	return &auth.Identity{Subject: "ann"}, nil
}
