package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
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
	"github.com/ginfer/ginfer/observe/otelsetup"
	"github.com/ginfer/ginfer/proxy"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/ginfer/ginfer/routing"
	"github.com/ginfer/ginfer/routing/rollout"
	"github.com/ginfer/ginfer/stream"
	"github.com/stretchr/testify/require"
)

// tracedModel is a model server that records trace headers. The X-Test header selects its
// behaviour.
type tracedModel struct {
	*httptest.Server

	mu        sync.Mutex
	calls     map[string]int
	parents   []string
	ids       []string
	endpoints map[string][]string // the addresses that received a request, by its id
}

func newTracedModel(t *testing.T) *tracedModel {
	t.Helper()
	m := &tracedModel{calls: map[string]int{}, endpoints: map[string][]string{}}
	m.Server = newServer(t, m)
	return m
}

// call records a request and returns the number of requests with its id so far.
func (m *tracedModel) call(r *http.Request) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	id := r.Header.Get("X-Request-ID")
	m.calls[id]++
	m.parents = append(m.parents, r.Header.Get("Traceparent"))
	m.ids = append(m.ids, id)
	m.endpoints[id] = append(m.endpoints[id], fmt.Sprint(r.Context().Value(http.LocalAddrContextKey)))
	return m.calls[id]
}

func (m *tracedModel) seen() (parents, ids []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.parents, m.ids
}

// endpointsOf returns the addresses that received the request with that id, in order.
func (m *tracedModel) endpointsOf(id string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.endpoints[id]
}

func (m *tracedModel) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := m.call(r)
	var query struct {
		Stream bool `json:"stream"`
	}
	_ = json.NewDecoder(r.Body).Decode(&query)
	mode := r.Header.Get("X-Test")
	w.Header().Set("X-Request-ID", "upstream-id")
	if mode == "503" || mode == "503 first" && n == 1 {
		http.Error(w, `{"error":{"message":"busy"}}`, http.StatusServiceUnavailable)
		return
	}
	if mode == "slow first" && n == 1 {
		<-r.Context().Done() // certainly the slower one
		return
	}
	if !query.Stream {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"choices":[{"finish_reason":"stop","message":{"role":"assistant","content":"the answer"}}],"usage":{"prompt_tokens":11,"completion_tokens":22}}`)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	for i := range 3 {
		_, _ = fmt.Fprintf(w, "data: {\"choices\":[{\"delta\":{\"content\":\"word %d\"}}]}\n\n", i)
		w.(http.Flusher).Flush()
		time.Sleep(20 * time.Millisecond) // so that a busy machine does not read them at once
	}
	switch mode {
	case "cut":
		panic(http.ErrAbortHandler)
	case "hang":
		<-r.Context().Done()
		return
	}
	_, _ = io.WriteString(w, "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":22}}\n\ndata: [DONE]\n\n")
}

// request waits for the access log's line of the request with that id.
func (b *lockedBuffer) request(t *testing.T, id string) map[string]any {
	t.Helper()
	var found map[string]any
	require.Eventually(t, func() bool {
		for line := range strings.Lines(b.String()) {
			var one map[string]any
			if json.Unmarshal([]byte(line), &one) == nil && one["request_id"] == id {
				found = one
				return true
			}
		}
		return false
	}, 5*time.Second, 5*time.Millisecond, "no line of %s in %s", id, b)
	return found
}

// observed is a gateway of all packages, instrumented with all of package observe.
type observed struct {
	*httptest.Server

	log       *lockedBuffer
	telemetry *otelsetup.Telemetry
	recent    *observe.Recent
	hooks     events.Hooks
	models    map[string]*tracedModel
	key       string
}

// watch has the parts of package observe.
type watch struct {
	access  *observe.AccessLog
	tracing *observe.Tracing
	metrics *observe.Metrics
	hooks   events.Hooks

	pools    map[string]*balance.Pool
	breakers map[string]*breaker.Group
	streams  *stream.Streams
	memory   *cache.Memory
}

func newObserved(t *testing.T, cfg observe.TracingConfig) *observed {
	t.Helper()
	o := &observed{log: new(lockedBuffer), models: map[string]*tracedModel{"v1.2": newTracedModel(t), "v1.3": newTracedModel(t)}}
	w := o.watch(t, cfg)
	chain := append(gin.HandlersChain{
		w.access.Middleware(), w.tracing.Middleware(), w.metrics.Middleware(), o.recent.Middleware(),
		apierror.Recovery(func(*gin.Context, any, []byte) {}),
	}, o.stages(t, w)...)
	r := gin.New()
	r.POST("/v1/chat/completions", chain...)
	o.Server = httptest.NewServer(r)
	t.Cleanup(func() {
		o.Close()
		require.NoError(t, w.metrics.Close())
		require.NoError(t, o.telemetry.Shutdown(context.WithoutCancel(t.Context())))
	})
	return o
}

func (o *observed) watch(t *testing.T, cfg observe.TracingConfig) *watch {
	t.Helper()
	logger := slog.New(slog.NewJSONHandler(o.log, nil))
	w := &watch{pools: map[string]*balance.Pool{}, breakers: map[string]*breaker.Group{}}
	var err error
	o.telemetry, err = otelsetup.Start(t.Context(), otelsetup.Config{})
	require.NoError(t, err)
	w.access, err = observe.NewAccessLog(observe.AccessLogConfig{Logger: logger})
	require.NoError(t, err)
	cfg.TracerProvider = o.telemetry.TracerProvider()
	w.tracing, err = observe.NewTracing(cfg)
	require.NoError(t, err)
	w.memory, err = cache.NewMemory(cache.MemoryConfig{})
	require.NoError(t, err)
	canary, err := rollout.New(rollout.Config{Model: "demo", Stable: "v1.2", Canary: "v1.3"})
	require.NoError(t, err)
	w.metrics, err = observe.NewMetrics(observe.MetricsConfig{
		MeterProvider: o.telemetry.MeterProvider(),
		Pools:         events.Pools(func() map[string][]balance.Status { return states(w.pools, (*balance.Pool).Status) }),
		Circuits:      events.Circuits(func() map[string][]breaker.Status { return states(w.breakers, (*breaker.Group).Status) }),
		Streams:       func() map[string]int { return map[string]int{"chat": w.streams.Open()} },
		Caches:        events.Caches(func() map[string]*cache.Memory { return map[string]*cache.Memory{"responses": w.memory} }),
		Rollouts:      events.Rollouts(func() []rollout.Status { return []rollout.Status{canary.Status()} }),
	})
	require.NoError(t, err)
	o.recent, err = observe.NewRecent(observe.RecentConfig{})
	require.NoError(t, err)
	w.hooks = events.Hooks{Metrics: w.metrics, Tracing: w.tracing, Logger: logger}
	o.hooks = w.hooks
	return w
}

func states[P, S any](of map[string]P, status func(P) []S) map[string][]S {
	out := make(map[string][]S, len(of))
	for name, one := range of {
		out[name] = status(one)
	}
	return out
}

// upstreams are pools behind meters and circuits; "dead" has no live endpoint, v1.3 has two.
func (o *observed) upstreams(t *testing.T, w *watch) map[string]http.RoundTripper {
	t.Helper()
	meter, err := stream.NewMeter(stream.MeterConfig{OnUsage: w.hooks.Usage, OnToken: w.hooks.Token, Report: ratelimit.Report, Stall: time.Millisecond})
	require.NoError(t, err)
	urls := map[string][]balance.Endpoint{"dead": {{URL: "http://127.0.0.1:1"}}}
	for name, m := range o.models {
		urls[name] = []balance.Endpoint{{URL: m.URL}}
	}
	urls["v1.3"] = append(urls["v1.3"], balance.Endpoint{URL: newServer(t, o.models["v1.3"]).URL})
	out := map[string]http.RoundTripper{}
	for name, endpoints := range urls {
		inner := &http.Transport{DisableCompression: true}
		t.Cleanup(inner.CloseIdleConnections)
		circuits := newCircuits(t, breaker.Config{OnEvent: w.hooks.Breaker(name)})
		pool := newPool(t, balance.Config{
			Endpoints: endpoints, Transport: circuits.Transport(inner), OnEvent: w.hooks.Balance(name),
			Health: balance.Health{Path: "-"}, Outlier: balance.Outlier{Consecutive: 5},
		})
		w.pools[name], w.breakers[name] = pool, circuits
		out[name] = w.tracing.Transport(meter.Transport(pool))
	}
	return out
}

// stages are the stages after those of package observe.
func (o *observed) stages(t *testing.T, w *watch) gin.HandlersChain {
	t.Helper()
	file := filepath.Join(t.TempDir(), "keys.json")
	key, err := auth.AddKey(file, auth.DefaultPrefix, auth.KeyEntry{Subject: "alice", Tenant: "acme"})
	require.NoError(t, err)
	o.key = key
	keys, err := auth.NewAPIKeys(auth.APIKeysConfig{File: file, OnEvent: w.hooks.Keys("file")})
	require.NoError(t, err)
	authn, err := auth.New(auth.Config{Verifiers: []auth.Verifier{keys}, OnEvent: w.hooks.Auth})
	require.NoError(t, err)
	table, err := routing.ParseTable([]byte(`{"routes": [
		{"model": "demo", "version": "v1.2", "upstream_model": "demo-8b"},
		{"model": "canary", "version": "v1.3"},
		{"model": "down", "version": "dead", "fallback": ["v1.3"]},
		{"model": "blind", "version": "v1.2", "capabilities": {}, "fallback": ["v1.3"]}]}`))
	require.NoError(t, err)
	router, err := routing.New(routing.Config{Table: table, Upstreams: o.upstreams(t, w), Subject: auth.SubjectOf, OnEvent: w.hooks.Routing})
	require.NoError(t, err)
	require.NoError(t, router.SetTable(table))
	limits, err := ratelimit.New(ratelimit.Config{Limits: []ratelimit.Limit{
		{Name: "rpm", Key: ratelimit.Join(auth.Subject, func(c *gin.Context) (string, error) { return c.GetHeader("X-Bucket"), nil }), Rate: 0.001, Burst: 20},
	}, OnEvent: w.hooks.Limit("requests")})
	require.NoError(t, err)
	tokens, err := ratelimit.NewTokens(ratelimit.TokensConfig{Limits: []ratelimit.Limit{{Name: "tpm", Key: auth.Tenant, Rate: ratelimit.Per(1e9, time.Minute)}}, OnEvent: w.hooks.Limit("tokens")})
	require.NoError(t, err)
	responses, err := cache.New(cache.Config{Store: w.memory, Scope: auth.Tenant, OnEvent: w.hooks.Cache("responses")})
	require.NoError(t, err)
	w.streams, err = stream.New(stream.Config{OnEvent: w.hooks.Stream})
	require.NoError(t, err)
	gateway, err := proxy.New(proxy.Config{
		Transport: router.Transport(), Retry: proxy.Retry{Repeat: proxy.Always, BudgetReserve: 1000, Backoff: time.Millisecond},
		Hedge: &proxy.Hedge{Ratio: 0.5}, Rewrite: observe.ForwardRequestID, OnEvent: w.hooks.Proxy,
	})
	require.NoError(t, err)
	return gin.HandlersChain{authn.Middleware(), router.Middleware(), limits.Middleware(), tokens.Middleware(), responses.Middleware(), w.streams.Middleware(), gateway.Handler()}
}

// send sends a request with that id. Headers come in pairs.
func (o *observed) send(ctx context.Context, t *testing.T, id, body string, headers ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, o.URL+"/v1/chat/completions?api_key=query-secret", strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+o.key)
	req.Header.Set("Cookie", "session=cookie-secret")
	req.Header.Set("X-Request-ID", id)
	req.Header.Set("X-Bucket", "all")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := o.Client().Do(req)
	require.NoError(t, err)
	return res
}

// sendAll sends a request and reads the response, ignoring errors of the body.
func (o *observed) sendAll(t *testing.T, id, body string, headers ...string) (status int) {
	t.Helper()
	res := o.send(t.Context(), t, id, body, headers...)
	defer func() { _ = res.Body.Close() }()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode
}
