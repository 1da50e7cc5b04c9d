package observe_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/auth"
	"github.com/ginfer/ginfer/balance"
	"github.com/ginfer/ginfer/breaker"
	"github.com/ginfer/ginfer/cache"
	"github.com/ginfer/ginfer/observe"
	"github.com/ginfer/ginfer/observe/events"
	"github.com/ginfer/ginfer/proxy"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/ginfer/ginfer/routing"
	"github.com/ginfer/ginfer/routing/rollout"
	"github.com/ginfer/ginfer/stream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

func collect(t *testing.T, reader sdkmetric.Reader) []metricdata.Metrics {
	t.Helper()
	var all metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(context.Background(), &all))
	if len(all.ScopeMetrics) == 0 {
		return nil
	}
	return all.ScopeMetrics[0].Metrics
}

// point is one series: its value is a sum, a count of observations, or a gauge.
type point struct {
	set   attribute.Set
	value float64
	sum   float64
}

func points(m metricdata.Metrics) (out []point) {
	switch data := m.Data.(type) {
	case metricdata.Sum[int64]:
		for _, p := range data.DataPoints {
			out = append(out, point{p.Attributes, float64(p.Value), 0})
		}
	case metricdata.Gauge[int64]:
		for _, p := range data.DataPoints {
			out = append(out, point{p.Attributes, float64(p.Value), 0})
		}
	case metricdata.Gauge[float64]:
		for _, p := range data.DataPoints {
			out = append(out, point{p.Attributes, p.Value, 0})
		}
	case metricdata.Histogram[float64]:
		for _, p := range data.DataPoints {
			out = append(out, point{p.Attributes, float64(p.Count), p.Sum})
		}
	}
	return out
}

// values returns the values of a label in any metric.
func values(all []metricdata.Metrics, key attribute.Key) map[string]bool {
	out := map[string]bool{}
	for _, m := range all {
		for _, p := range points(m) {
			if v, ok := p.set.Value(key); ok {
				out[v.String()] = true
			}
		}
	}
	return out
}

// series returns all series as text: name{labels} to value.
func series(all []metricdata.Metrics) map[string]float64 {
	out := map[string]float64{}
	for _, m := range all {
		for _, p := range points(m) {
			out[m.Name+"{"+p.set.Encoded(attribute.DefaultEncoder())+"}"] = p.value
		}
	}
	return out
}

func newMetrics(t *testing.T, cfg observe.MetricsConfig) (*observe.Metrics, sdkmetric.Reader) {
	t.Helper()
	reader := sdkmetric.NewManualReader()
	cfg.MeterProvider = sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	metrics, err := observe.NewMetrics(cfg)
	require.NoError(t, err)
	return metrics, reader
}

// Each event is counted in its metric, with its labels.
func TestMetricsOfEvents(t *testing.T) {
	t.Parallel()
	id := &auth.Identity{Subject: "alice", Tenant: "acme", Method: "jwt"}
	tests := map[string]struct {
		report func(context.Context, events.Hooks)
		want   map[string]float64
	}{
		"first attempt": {func(ctx context.Context, h events.Hooks) {
			h.Proxy(ctx, proxy.Event{Kind: proxy.AttemptEnded, Attempt: 1, Endpoint: "a:1", Status: 200, Duration: time.Second})
			h.Proxy(ctx, proxy.Event{Kind: proxy.AttemptEnded, Attempt: 1, Endpoint: "https://b:2/base", Status: 200})
			h.Proxy(ctx, proxy.Event{Kind: proxy.AttemptEnded, Attempt: 1, Endpoint: "mine", Status: 200})
		}, map[string]float64{
			"gateway.tries{gateway.endpoint=a:1,gateway.outcome=success,gateway.try.kind=first}":                                    1,
			"http.client.request.duration{http.request.method=_OTHER,http.response.status_code=200,server.address=b,server.port=2}": 1,
			"http.client.request.duration{http.request.method=_OTHER,http.response.status_code=200,server.address=mine}":            1,
			"gateway.tries{gateway.endpoint=https://b:2/base,gateway.outcome=success,gateway.try.kind=first}":                       1,
			"gateway.tries{gateway.endpoint=mine,gateway.outcome=success,gateway.try.kind=first}":                                   1,
			"http.client.request.duration{http.request.method=_OTHER,http.response.status_code=200,server.address=a,server.port=1}": 1,
		}},
		"retry, and its error": {func(ctx context.Context, h events.Hooks) {
			h.Proxy(ctx, proxy.Event{Kind: proxy.AttemptEnded, Attempt: 2, Outcome: proxy.Failure, Err: &apierror.Error{Status: 504, Code: "upstream_timeout"}})
			h.Proxy(ctx, proxy.Event{Kind: proxy.AttemptEnded, Attempt: 3, Outcome: proxy.Failure, Status: 503, Err: errors.New("status 503")})
			h.Proxy(ctx, proxy.Event{Kind: proxy.AttemptEnded, Attempt: 4, Outcome: proxy.Failure, Err: errors.New("refused")})
		}, map[string]float64{
			"gateway.tries{gateway.outcome=failure,gateway.try.kind=retry}":                                         3,
			"http.client.request.duration{error.type=upstream_timeout,http.request.method=_OTHER}":                  1,
			"http.client.request.duration{error.type=503,http.request.method=_OTHER,http.response.status_code=503}": 1,
			"http.client.request.duration{error.type=_OTHER,http.request.method=_OTHER}":                            1,
		}},
		"hedge, and the bytes of an exchange": {func(ctx context.Context, h events.Hooks) {
			h.Proxy(ctx, proxy.Event{Kind: proxy.AttemptEnded, Attempt: 2, Hedge: true, Outcome: proxy.Canceled, Err: proxy.ErrBeaten})
			h.Proxy(ctx, proxy.Event{Kind: proxy.Finished, Bytes: 7})
		}, map[string]float64{
			"gateway.tries{gateway.outcome=canceled,gateway.try.kind=hedge}":             1,
			"http.client.request.duration{error.type=_OTHER,http.request.method=_OTHER}": 1,
			"gateway.sent{}": 7,
		}},
		"usage": {func(ctx context.Context, h events.Hooks) {
			h.Usage(ctx, stream.Usage{Model: "m", Outcome: stream.Complete, Status: 200, Input: 3, Output: 4, Stream: true, FirstToken: time.Second, Total: time.Second, Stalls: 2})
			h.Usage(ctx, stream.Usage{Model: "m", Outcome: stream.Failed, Status: 503, Total: time.Second})
			h.Usage(ctx, stream.Usage{Model: "m", Outcome: stream.Canceled, Total: time.Second})
			h.Token(ctx, time.Millisecond)
		}, map[string]float64{
			"gen_ai.client.operation.duration{gen_ai.operation.name=chat,gen_ai.provider.name=unknown,gen_ai.request.model=m,gen_ai.response.model=m}":                     1,
			"gen_ai.client.operation.duration{error.type=503,gen_ai.operation.name=chat,gen_ai.provider.name=unknown,gen_ai.request.model=m,gen_ai.response.model=m}":      1,
			"gen_ai.client.operation.duration{error.type=canceled,gen_ai.operation.name=chat,gen_ai.provider.name=unknown,gen_ai.request.model=m,gen_ai.response.model=m}": 1,
			"gen_ai.client.operation.time_to_first_chunk{gen_ai.operation.name=chat,gen_ai.provider.name=unknown,gen_ai.request.model=m,gen_ai.response.model=m}":          1,
			"gen_ai.client.token.usage{gen_ai.operation.name=chat,gen_ai.provider.name=unknown,gen_ai.request.model=m,gen_ai.response.model=m,gen_ai.token.type=input}":    1,
			"gen_ai.client.token.usage{gen_ai.operation.name=chat,gen_ai.provider.name=unknown,gen_ai.request.model=m,gen_ai.response.model=m,gen_ai.token.type=output}":   1,
			"gateway.stalls{gen_ai.operation.name=chat,gen_ai.provider.name=unknown,gen_ai.request.model=m,gen_ai.response.model=m}":                                       2,
			"gen_ai.client.operation.time_per_output_chunk{gen_ai.provider.name=unknown}":                                                                                  1,
		}},
		"routing": {func(ctx context.Context, h events.Hooks) {
			h.Routing(ctx, routing.Event{Kind: routing.Decided, Model: "m", Version: "v1"})
			h.Routing(ctx, routing.Event{Kind: routing.FellBack, From: "v1", Version: "v2"})
			h.Routing(ctx, routing.Event{Kind: routing.Skipped, Version: "v1", Lacks: "tools"})
			h.Routing(ctx, routing.Event{Kind: routing.Swapped})
		}, map[string]float64{
			"gateway.routing.decisions{gateway.route.version=v1,gen_ai.request.model=other}": 1,
			"gateway.routing.fallbacks{gateway.fallback.from=v1,gateway.route.version=v2}":   1,
			"gateway.routing.skipped{gateway.lacks=tools,gateway.route.version=v1}":          1,
			"gateway.routing.swaps{}": 1,
		}},
		"limits": {func(ctx context.Context, h events.Hooks) {
			report := h.Limit("chat")
			report(ctx, ratelimit.Event{Kind: ratelimit.Allowed, Wait: time.Second, Tokens: 10})
			report(ctx, ratelimit.Event{Kind: ratelimit.Refused, Limit: "rpm", Key: "alice"})
			report(ctx, ratelimit.Event{Kind: ratelimit.WouldRefuse, Limit: "trial", Key: "alice"})
			report(ctx, ratelimit.Event{Kind: ratelimit.Settled, Tokens: 8})
			report(ctx, ratelimit.Event{Kind: ratelimit.StoreDown, Err: errors.New("x")})
			report(ctx, ratelimit.Event{Kind: ratelimit.Changed, Concurrency: 21})
		}, map[string]float64{
			"gateway.limit.decisions{gateway.decision=allowed,gateway.limiter=chat}":                          1,
			"gateway.limit.decisions{gateway.decision=refused,gateway.limit=rpm,gateway.limiter=chat}":        1,
			"gateway.limit.decisions{gateway.decision=would_refuse,gateway.limit=trial,gateway.limiter=chat}": 1,
			"gateway.limit.wait{gateway.limiter=chat}":                                                        1,
			"gateway.limit.tokens{gateway.limiter=chat,gateway.state=reserved}":                               10,
			"gateway.limit.tokens{gateway.limiter=chat,gateway.state=spent}":                                  8,
			"gateway.limit.store.down{gateway.limiter=chat}":                                                  1,
			"gateway.limit.concurrency{gateway.limiter=chat}":                                                 21,
		}},
		"a store that is back": {func(ctx context.Context, h events.Hooks) {
			h.Limit("x")(ctx, ratelimit.Event{Kind: ratelimit.StoreDown})
			h.Limit("x")(ctx, ratelimit.Event{Kind: ratelimit.StoreUp})
		}, map[string]float64{"gateway.limit.store.down{gateway.limiter=x}": 0}},
		"callers": {func(ctx context.Context, h events.Hooks) {
			h.Auth(ctx, auth.Event{Identity: id})
			h.Auth(ctx, auth.Event{})
			h.Auth(ctx, auth.Event{Err: &apierror.Error{Status: 401, Code: "invalid_token"}})
			h.Address(ctx, auth.IPEvent{})
			h.Keys("op")(ctx, auth.KeysEvent{Keys: 2})
			h.Keys("file")(ctx, auth.KeysEvent{Err: errors.New("x")})
		}, map[string]float64{
			"gateway.auth.requests{gateway.auth.method=jwt}":                              1,
			"gateway.auth.requests{gateway.auth.method=anonymous}":                        1,
			"gateway.auth.requests{error.type=invalid_token,gateway.auth.method=refused}": 1,
			"gateway.auth.duration{gateway.auth.method=jwt}":                              1,
			"gateway.auth.duration{gateway.auth.method=anonymous}":                        1,
			"gateway.auth.duration{gateway.auth.method=refused}":                          1,
			"gateway.auth.addresses.refused{}":                                            1,
			"gateway.auth.key_updates{gateway.outcome=success,gateway.upstream=op}":       1,
			"gateway.auth.key_updates{gateway.outcome=failure,gateway.upstream=file}":     1,
		}},
		"upstreams": {func(ctx context.Context, h events.Hooks) {
			h.Breaker("pool")(t.Context(), breaker.Event{Circuit: "a:1", From: breaker.Closed, To: breaker.Open, Reason: "failures"}) //nolint:contextcheck // a circuit is no request's
			h.Balance("pool")(ctx, balance.Event{Kind: balance.Ejected, Endpoint: "a:1"})
		}, map[string]float64{
			"gateway.breaker.transitions{gateway.circuit=a:1,gateway.reason=failures,gateway.state=open,gateway.upstream=pool}": 1,
			"gateway.endpoint.changes{gateway.change=ejected,gateway.endpoint=a:1,gateway.upstream=pool}":                       1,
		}},
		"cache": {func(ctx context.Context, h events.Hooks) {
			report := h.Cache("llm")
			report(ctx, cache.Event{Kind: cache.Hit, Policy: "llm", TTL: time.Second})
			report(ctx, cache.Event{Kind: cache.Hit, Policy: "llm", TTL: -time.Second})
			report(ctx, cache.Event{Kind: cache.Bypassed, Reason: "no-store"})
			report(ctx, cache.Event{Kind: cache.NotStored, Reason: "status"})
			report(ctx, cache.Event{Kind: cache.StoreDown, Err: errors.New("x")})
		}, map[string]float64{
			"gateway.cache.requests{gateway.cache=hit,gateway.cache.name=llm,gateway.cache.policy=llm}":     1,
			"gateway.cache.requests{gateway.cache=stale,gateway.cache.name=llm,gateway.cache.policy=llm}":   1,
			"gateway.cache.requests{gateway.cache=bypass,gateway.cache.name=llm,gateway.reason=no-store}":   1,
			"gateway.cache.changes{gateway.cache.name=llm,gateway.change=not_stored,gateway.reason=status}": 1,
			"gateway.cache.store.down{gateway.cache.name=llm}":                                              1,
		}},
		"streams": {func(ctx context.Context, h events.Hooks) {
			h.Stream(ctx, stream.Event{Heartbeats: 2})
			h.Stream(ctx, stream.Event{Err: stream.ErrIdle})
		}, map[string]float64{
			"gateway.streams.ended{gateway.reason=none}": 1, "gateway.streams.ended{gateway.reason=idle}": 1, "gateway.streams.heartbeats{}": 2,
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			metrics, reader := newMetrics(t, observe.MetricsConfig{})
			tt.report(t.Context(), events.Hooks{Metrics: metrics})
			assert.Equal(t, tt.want, series(collect(t, reader)))
			tt.report(t.Context(), events.Hooks{}) // no fields are set: no effect
		})
	}
}

// The metrics of what clients see, by the middleware.
func TestMetricsOfRequests(t *testing.T) {
	t.Parallel()
	metrics, reader := newMetrics(t, observe.MetricsConfig{Models: []string{"m"}})
	h := events.Hooks{Metrics: metrics}
	ask(post(), metrics.Middleware(), func(c *gin.Context) {
		ctx := c.Request.Context()
		assert.InDelta(t, 1, series(collect(t, reader))["http.server.active_requests{http.request.method=POST,url.scheme=http}"], 0)
		h.Routing(ctx, routing.Event{Kind: routing.Decided, Model: "m", Version: "v1"})
		h.Usage(ctx, stream.Usage{Model: "m", Outcome: stream.Complete, Status: 200, Stream: true, Events: 3, PerToken: time.Millisecond})
		c.Status(http.StatusOK)
		h.Proxy(ctx, proxy.Event{Kind: proxy.Finished, FirstByte: time.Millisecond, Duration: 2 * time.Millisecond})
	})
	got := series(collect(t, reader))
	generation := "gateway.route.version=v1,gen_ai.operation.name=chat,gen_ai.provider.name=unknown,gen_ai.request.model=m,gen_ai.response.model=m"
	for name, want := range map[string]float64{
		"http.server.active_requests{http.request.method=POST,url.scheme=http}":                                                                                             0,
		"http.server.request.duration{http.request.method=POST,http.response.status_code=200,http.route=/v1/chat/completions,network.protocol.version=1.1,url.scheme=http}": 1,
		"gateway.requests{gateway.outcome=success,gateway.route.version=v1,http.route=/v1/chat/completions}":                                                                1,
		"gateway.first_byte{gateway.route.version=v1,http.route=/v1/chat/completions}":                                                                                      1,
		"gen_ai.server.request.duration{" + generation + "}":                                                                                                                1,
		"gen_ai.server.time_to_first_token{" + generation + "}":                                                                                                             1,
		"gen_ai.server.time_per_output_token{" + generation + "}":                                                                                                           1,
	} {
		v, ok := got[name]
		assert.True(t, ok, name)
		assert.InDelta(t, want, v, 0, name)
	}
}

func TestMetricsStatusFunctions(t *testing.T) {
	t.Parallel()
	later := time.Now().Add(time.Hour)
	memory, err := cache.NewMemory(cache.MemoryConfig{})
	require.NoError(t, err)
	metrics, reader := newMetrics(t, observe.MetricsConfig{
		Pools: events.Pools(func() map[string][]balance.Status {
			return map[string][]balance.Status{"p": {
				{Name: "good", Healthy: true, Inflight: 3},
				{Name: "sick"},
				{Name: "drained", Healthy: true, Draining: true},
				{Name: "ejected", Healthy: true, EjectedUntil: later},
				{Name: "resting", Healthy: true, CoolingUntil: later},
			}}
		}),
		Circuits: events.Circuits(func() map[string][]breaker.Status {
			return map[string][]breaker.Status{"p": {{Circuit: "a", State: breaker.Open}, {Circuit: "b", State: breaker.HalfOpen}}}
		}),
		Streams: func() map[string]int { return map[string]int{"/v1": 4} },
		Caches:  events.Caches(func() map[string]*cache.Memory { return map[string]*cache.Memory{"llm": memory} }),
		Rollouts: events.Rollouts(func() []rollout.Status {
			return []rollout.Status{{Name: "m:v2", State: rollout.Held, Share: 0.2, Checks: []rollout.Check{{Name: "latency", Evidence: 50, Limit: 200}}}}
		}),
	})
	got := series(collect(t, reader))
	for name, want := range map[string]float64{
		"gateway.endpoint.up{gateway.endpoint=good,gateway.upstream=p}":                1,
		"gateway.endpoint.up{gateway.endpoint=sick,gateway.upstream=p}":                0,
		"gateway.endpoint.up{gateway.endpoint=drained,gateway.upstream=p}":             0,
		"gateway.endpoint.up{gateway.endpoint=ejected,gateway.upstream=p}":             0,
		"gateway.endpoint.up{gateway.endpoint=resting,gateway.upstream=p}":             0,
		"gateway.endpoint.inflight{gateway.endpoint=good,gateway.upstream=p}":          3,
		"gateway.breaker.state{gateway.circuit=a,gateway.upstream=p}":                  2,
		"gateway.breaker.state{gateway.circuit=b,gateway.upstream=p}":                  1,
		"gateway.streams.open{gateway.group=/v1}":                                      4,
		"gateway.cache.entries{gateway.cache.name=llm}":                                0,
		"gateway.cache.size{gateway.cache.name=llm}":                                   0,
		"gateway.rollout.share{gateway.rollout=m:v2}":                                  0.2,
		"gateway.rollout.state{gateway.rollout=m:v2,gateway.state=held}":               1,
		"gateway.rollout.evidence{gateway.rollout=m:v2,gateway.rollout.check=latency}": 0.25,
	} {
		assert.InDelta(t, want, got[name], 0, name)
		assert.Contains(t, got, name)
	}
	require.NoError(t, metrics.Close())
	assert.NotContains(t, series(collect(t, reader)), "gateway.streams.open{gateway.group=/v1}")
}

// Changes of a rollout are counted and logged.
func TestRolloutHook(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	metrics, reader := newMetrics(t, observe.MetricsConfig{})
	h := events.Hooks{Metrics: metrics, Logger: slog.New(slog.NewJSONHandler(&log, nil))}
	h.Rollout(t.Context(), rollout.Event{Name: "m:v2", State: rollout.RolledBack, Reason: "failures: 3 of 3\nusers"})
	h.Rollout(t.Context(), rollout.Event{Name: "m:v2", State: rollout.Running, Share: 0.2, Err: errors.New("down")})
	got := series(collect(t, reader))
	assert.InDelta(t, 1, got["gateway.rollout.changes{gateway.rollout=m:v2,gateway.state=rolled_back}"], 0)
	assert.InDelta(t, 1, got["gateway.rollout.changes{gateway.rollout=m:v2,gateway.state=store_down}"], 0)
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	require.Len(t, lines, 2)
	assert.Contains(t, lines[0], `"level":"WARN","msg":"rollout rolled_back"`)
	assert.Contains(t, lines[0], `"reason":"failures: 3 of 3`+"\ufffd"+`users"`)
	assert.Contains(t, lines[1], `"level":"ERROR","msg":"rollout: the store does not respond"`)
	assert.Contains(t, lines[1], `"rollout":"m:v2","error":"down"`)
}

// A panic in a status function affects its own metrics only.
func TestMetricsStatusFunctionPanics(t *testing.T) {
	t.Parallel()
	metrics, reader := newMetrics(t, observe.MetricsConfig{Streams: func() map[string]int { panic("mine") }})
	ask(post(), metrics.Middleware(), func(*gin.Context) {})
	assert.NotEmpty(t, collect(t, reader))
	require.NoError(t, (*observe.Metrics)(nil).Close())
}

// Names and labels of callers are in no metric.
func TestMetricsHaveNoCallers(t *testing.T) {
	t.Parallel()
	metrics, reader := newMetrics(t, observe.MetricsConfig{})
	h := events.Hooks{Metrics: metrics}
	ask(post(), metrics.Middleware(), func(c *gin.Context) {
		h.Auth(c.Request.Context(), auth.Event{Identity: &auth.Identity{Subject: "alice", Tenant: "acme", Issuer: "op", Method: "jwt"}})
		h.Limit("l")(c.Request.Context(), ratelimit.Event{Kind: ratelimit.Refused, Key: "alice", Limit: "rpm"})
	})
	for name := range series(collect(t, reader)) {
		assert.NotContains(t, name, "alice")
		assert.NotContains(t, name, "acme")
	}
}
