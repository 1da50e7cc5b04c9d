package e2e_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/auth"
	"github.com/ginfer/ginfer/balance"
	"github.com/ginfer/ginfer/breaker"
	"github.com/ginfer/ginfer/cache"
	"github.com/ginfer/ginfer/observe"
	"github.com/ginfer/ginfer/observe/events"
	"github.com/ginfer/ginfer/proxy"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/ginfer/ginfer/routing"
	"github.com/ginfer/ginfer/stream"
	"github.com/stretchr/testify/require"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// everyStage is a gateway with every stage of the library, in front of one upstream.
func everyStage(tb testing.TB, policy balance.Policy, url string) *httptest.Server {
	tb.Helper()
	transport := newTransport(tb, proxy.TransportConfig{})
	metrics, err := observe.NewMetrics(observe.MetricsConfig{MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))})
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, metrics.Close()) })
	hooks := events.Hooks{Metrics: metrics}
	circuits := newCircuits(tb, breaker.Config{OnEvent: hooks.Breaker("a")})
	pool := newPool(tb, balance.Config{
		Endpoints: []balance.Endpoint{{URL: url}}, Policy: policy, Transport: circuits.Transport(transport), OnEvent: hooks.Balance("a"),
	})
	meter, err := stream.NewMeter(stream.MeterConfig{OnUsage: hooks.Usage, OnToken: hooks.Token, Report: ratelimit.Report})
	require.NoError(tb, err)
	tracing, err := observe.NewTracing(observe.TracingConfig{TracerProvider: sdktrace.NewTracerProvider()})
	require.NoError(tb, err)
	router, err := routing.New(routing.Config{
		Table:     routing.Table{Routes: []routing.Route{{Model: "m", Version: "v1", Upstream: "a"}}},
		Upstreams: map[string]http.RoundTripper{"a": tracing.Transport(meter.Transport(pool))}, OnEvent: hooks.Routing,
	})
	require.NoError(tb, err)
	relay, err := proxy.New(proxy.Config{Transport: router.Transport(), Retry: proxy.Retry{Repeat: proxy.Always}, OnEvent: hooks.Proxy})
	require.NoError(tb, err)
	stages := append(frontStages(tb, metrics, tracing), router.Middleware(), withCache(tb), circuits.Middleware(breaker.MiddlewareConfig{}), withGuard(tb), relay.Handler())
	r := gin.New()
	r.POST("/*path", stages...)
	s := newServer(tb, r)
	return s
}

// frontStages are the stages before routing.
func frontStages(tb testing.TB, metrics *observe.Metrics, tracing *observe.Tracing) gin.HandlersChain {
	tb.Helper()
	gin.SetMode(gin.TestMode)
	bodies, err := proxy.NewBodies(proxy.BodiesConfig{})
	require.NoError(tb, err)
	access, err := observe.NewAccessLog(observe.AccessLogConfig{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(tb, err)
	tokens, err := ratelimit.NewTokens(ratelimit.TokensConfig{Key: auth.Subject, Rate: 1e9, Burst: 1e9})
	require.NoError(tb, err)
	return gin.HandlersChain{
		bodies.Middleware(), access.Middleware(), tracing.Middleware(), metrics.Middleware(),
		auth.Middleware(auth.Config{Verifiers: []auth.Verifier{anyCaller{}}}),
		ratelimit.Middleware(ratelimit.Config{Key: auth.Subject, Rate: 1e9, Burst: 1e6}), tokens.Middleware(),
	}
}

func withCache(tb testing.TB) gin.HandlerFunc {
	tb.Helper()
	c, err := cache.New(cache.Config{Scope: auth.Tenant, LLM: cache.LLM{TTL: time.Minute}})
	require.NoError(tb, err)
	return c.Middleware()
}

func withGuard(tb testing.TB) gin.HandlerFunc {
	tb.Helper()
	s, err := stream.New(stream.Config{Heartbeat: time.Minute})
	require.NoError(tb, err)
	return s.Middleware()
}
