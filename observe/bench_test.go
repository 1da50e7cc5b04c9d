package observe_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/observe"
	"github.com/ginfer/ginfer/observe/events"
	"github.com/ginfer/ginfer/proxy"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	noopmetric "go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	nooptrace "go.opentelemetry.io/otel/trace/noop"
)

// still is a response writer without cost.
type still struct{ header http.Header }

func (w still) Header() http.Header       { return w.header }
func (still) Write(b []byte) (int, error) { return len(b), nil }
func (still) WriteHeader(int)             {}

// nowhere is a writer without cost, which slog does not special-case as it does io.Discard.
type nowhere struct{}

func (nowhere) Write(p []byte) (int, error) { return len(p), nil }

// empty is an upstream without cost.
type empty struct{}

func (empty) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
}

// chain measures handlers in front of an empty one.
func chain(b *testing.B, last gin.HandlerFunc, handlers ...gin.HandlerFunc) {
	b.Helper()
	e := gin.New()
	e.POST("/v1/chat/completions", append(handlers, last)...)
	req := httptest.NewRequest(http.MethodPost, "/v1/chat/completions", http.NoBody)
	w := still{http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		e.ServeHTTP(w, req)
	}
}

func BenchmarkTracing(b *testing.B) {
	nothing := func(*gin.Context) {}
	b.Run("none", func(b *testing.B) { chain(b, nothing) })
	never := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample()))
	always := sdktrace.NewTracerProvider()
	for name, provider := range map[string]trace.TracerProvider{"global, not set": otel.GetTracerProvider(), "noop": nooptrace.NewTracerProvider(), "never": never, "always": always} {
		tracing, err := observe.NewTracing(observe.TracingConfig{TracerProvider: provider})
		require.NoError(b, err)
		b.Run(name, func(b *testing.B) { chain(b, nothing, tracing.Middleware()) })
		rt := tracing.Transport(empty{})
		call := func(c *gin.Context) {
			res, err := rt.RoundTrip(c.Request)
			if err == nil {
				_ = res.Body.Close()
			}
		}
		b.Run(name+" and a call", func(b *testing.B) { chain(b, call, tracing.Middleware()) })
	}
}

func BenchmarkAccessLog(b *testing.B) {
	for name, logger := range map[string]*slog.Logger{
		"discard": slog.New(slog.DiscardHandler), "JSON": slog.New(slog.NewJSONHandler(nowhere{}, nil)),
	} {
		access, err := observe.NewAccessLog(observe.AccessLogConfig{Logger: logger})
		require.NoError(b, err)
		b.Run(name, func(b *testing.B) { chain(b, func(*gin.Context) {}, access.Middleware()) })
	}
}

func BenchmarkMetrics(b *testing.B) {
	for name, cfg := range map[string]observe.MetricsConfig{
		"noop": {MeterProvider: noopmetric.NewMeterProvider()}, "SDK": {MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))},
	} {
		metrics, err := observe.NewMetrics(cfg)
		require.NoError(b, err)
		b.Run(name, func(b *testing.B) { chain(b, func(*gin.Context) {}, metrics.Middleware()) })
		b.Run(name+" token", func(b *testing.B) {
			hooks := events.Hooks{Metrics: metrics}
			ctx := context.Background()
			b.ReportAllocs()
			for b.Loop() {
				hooks.Token(ctx, 20*time.Millisecond)
			}
		})
		b.Run(name+" attempt", func(b *testing.B) {
			hooks := events.Hooks{Metrics: metrics}
			ctx := context.Background()
			b.ReportAllocs()
			for b.Loop() {
				hooks.Proxy(ctx, proxy.Event{Kind: proxy.AttemptEnded, Attempt: 1, Status: 200, Endpoint: "a:1", Duration: time.Second})
			}
		})
	}
}

func BenchmarkRecent(b *testing.B) {
	recent, err := observe.NewRecent(observe.RecentConfig{})
	require.NoError(b, err)
	chain(b, func(*gin.Context) {}, recent.Middleware())
}
