package observe_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/observe"
	"github.com/ginfer/ginfer/observe/events"
	"github.com/ginfer/ginfer/proxy"
	"github.com/ginfer/ginfer/routing"
	"github.com/ginfer/ginfer/stream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// newRouter returns a router of the model m, in which v1 falls back to v2.
func newRouter(t *testing.T, h events.Hooks, v1, v2 http.RoundTripper) *routing.Router {
	t.Helper()
	table, err := routing.ParseTable([]byte(`{"routes": [
		{"model": "m", "version": "v1", "upstream": "vllm", "fallback": ["v2"]},
		{"model": "n", "version": "v2", "upstream": "openai"}
	]}`))
	require.NoError(t, err)
	router, err := routing.New(routing.Config{Table: table, Upstreams: map[string]http.RoundTripper{"vllm": v1, "openai": v2}, OnEvent: h.Routing})
	require.NoError(t, err)
	return router
}

// Each version that is called has a span with its own name, provider and outcome.
func TestSpansOfVersions(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		path  string
		first http.RoundTripper
		want  []string
	}{
		"chat":               {"/v1/chat/completions", responding("{}"), []string{"chat v1", "POST /v1/chat/completions"}},
		"fallback":           {"/v1/chat/completions", &upstream{status: http.StatusServiceUnavailable, body: strings.NewReader("")}, []string{"chat v1", "chat v2", "POST /v1/chat/completions"}},
		"unknown operation":  {"/v1/rerank", responding("{}"), []string{"POST v1", "POST"}},
		"embeddings":         {"/v1/embeddings", responding("{}"), []string{"embeddings v1", "POST"}},
		"legacy completions": {"/v1/completions", responding("{}"), []string{"text_completion v1", "POST"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tracing, out := newTracing(t, observe.TracingConfig{})
			h := events.Hooks{Tracing: tracing}
			router := newRouter(t, h, tracing.Transport(tt.first), tracing.Transport(responding("{}")))
			req := post("Content-Type", "application/json")
			req.URL.Path = tt.path
			ask(req, tracing.Middleware(), router.Middleware(), func(c *gin.Context) { relay(t, router.Transport())(c) })
			spans := out.GetSpans()
			var got []string
			for _, s := range spans {
				got = append(got, s.Name)
			}
			require.Equal(t, tt.want, got)
			providers := []any{"vllm", "openai"}
			for i, s := range spans[:len(spans)-1] {
				have := attrs(s.Attributes)
				assert.Equal(t, providers[i], have["gen_ai.provider.name"])
				assert.Equal(t, []any{"v1", "v2"}[i], have["gateway.route.version"])
				assert.Equal(t, "m", have["gen_ai.request.model"])
				assert.Equal(t, int64(i+1), have["gateway.try"])
			}
			if name == "fallback" {
				assert.Equal(t, int64(1), attrs(spans[1].Attributes)["http.request.resend_count"])
				assert.Equal(t, []string{"fallback"}, names(spans[2].Events))
			}
		})
	}
}

// A hedge is marked in its span.
func TestSpanOfHedge(t *testing.T) {
	t.Parallel()
	tracing, out := newTracing(t, observe.TracingConfig{})
	x, req := exchange.Of(post())
	call := tracing.Transport(responding("x"))
	read := func(a *exchange.Attempt, outbound *http.Request) {
		res, err := a.Call(outbound, call, func(*exchange.Attempt) {})
		require.NoError(t, err)
		_, _ = io.Copy(io.Discard, res.Body)
		require.NoError(t, res.Body.Close())
	}
	read(x.Begin(req))
	read(x.BeginHedge(req))
	spans := out.GetSpans()
	require.Len(t, spans, 2)
	assert.NotContains(t, attrs(spans[0].Attributes), "gateway.hedge")
	assert.Equal(t, true, attrs(spans[1].Attributes)["gateway.hedge"])
	assert.Equal(t, int64(2), attrs(spans[1].Attributes)["gateway.try"])
}

// The labels of a request and of its attempts name the version and the provider.
func TestMetricsOfVersions(t *testing.T) {
	t.Parallel()
	metrics, reader := newMetrics(t, observe.MetricsConfig{Models: []string{"m"}})
	h := events.Hooks{Metrics: metrics}
	access, out := newAccessLog(t, observe.AccessLogConfig{})
	call := usage{h}
	router := newRouter(t, h, call, call)
	ask(post("Content-Type", "application/json"), access.Middleware(), metrics.Middleware(), router.Middleware(), func(c *gin.Context) {
		relay(t, router.Transport())(c)
	})
	const labels = "gateway.route.version=v1,gen_ai.operation.name=chat,gen_ai.provider.name=vllm,gen_ai.request.model=m"
	all := series(collect(t, reader))
	for _, name := range []string{
		"gen_ai.client.operation.duration{" + labels + "}",
		"gen_ai.client.token.usage{" + labels + ",gen_ai.token.type=output}",
		"gen_ai.server.request.duration{" + labels + "}",
		"gen_ai.client.operation.time_per_output_chunk{gateway.route.version=v1,gen_ai.provider.name=vllm}",
		"gateway.routing.decisions{gateway.route.version=v1,gen_ai.request.model=m}",
	} {
		assert.InDelta(t, 1, all[name], 0, name)
	}
	line := out.one(t)
	assert.Equal(t, "v1", line["gateway.route.version"])
	assert.Equal(t, "vllm", line["gateway.upstream"])
}

// usage is an upstream with a meter for hooks.
type usage struct{ hooks events.Hooks }

func (u usage) RoundTrip(req *http.Request) (*http.Response, error) {
	u.hooks.Usage(req.Context(), stream.Usage{Outcome: stream.Complete, Status: http.StatusOK, Output: 4})
	u.hooks.Token(req.Context(), 1)
	return responding("{}").RoundTrip(req)
}

// Copies for a mirror are counted by their outcome, apart from the requests.
func TestMirrorOutcomes(t *testing.T) {
	t.Parallel()
	metrics, reader := newMetrics(t, observe.MetricsConfig{})
	h := events.Hooks{Metrics: metrics}
	access, out := newAccessLog(t, observe.AccessLogConfig{})
	ask(post(), access.Middleware(), func(c *gin.Context) {
		for _, e := range []routing.Event{
			{Kind: routing.Mirrored, Status: 200},
			{Kind: routing.Mirrored, Status: 404},
			{Kind: routing.Mirrored, Status: 503},
			{Kind: routing.Mirrored, Err: errors.New("refused")},
			{Kind: routing.MirrorFull},
		} {
			e.Version = "next"
			h.Routing(c.Request.Context(), e)
		}
	})
	assert.Equal(t, map[string]float64{
		"gateway.routing.mirrored{gateway.outcome=success,gateway.route.version=next}":  2,
		"gateway.routing.mirrored{gateway.outcome=failure,gateway.route.version=next}":  2,
		"gateway.routing.mirrored{gateway.outcome=left_out,gateway.route.version=next}": 1,
	}, series(collect(t, reader)))
	assert.NotContains(t, out.one(t), "gateway.route.version", "the request has another version")
}

// An attempt by a layer below is a fallback, unless it is the first or a hedge.
func TestAttemptKinds(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		event proxy.Event
		want  string
	}{
		"first":             {proxy.Event{Attempt: 1}, "first"},
		"first, below":      {proxy.Event{Attempt: 1, Fallback: true}, "first"},
		"retry":             {proxy.Event{Attempt: 2}, "retry"},
		"fallback":          {proxy.Event{Attempt: 2, Fallback: true}, "fallback"},
		"hedge":             {proxy.Event{Attempt: 2, Hedge: true}, "hedge"},
		"fallback of hedge": {proxy.Event{Attempt: 3, Hedge: true, Fallback: true}, "hedge"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			metrics, reader := newMetrics(t, observe.MetricsConfig{})
			tt.event.Kind = proxy.AttemptEnded
			events.Hooks{Metrics: metrics}.Proxy(t.Context(), tt.event)
			assert.Equal(t, map[string]bool{tt.want: true}, values(collect(t, reader), "gateway.try.kind"))
		})
	}
}

// Concurrent requests with new values never exceed the bound of a label.
func TestLabelsBoundedConcurrently(t *testing.T) {
	t.Parallel()
	metrics, reader := newMetrics(t, observe.MetricsConfig{MaxModels: 10})
	h := events.Hooks{Metrics: metrics}
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 50 {
				h.Usage(t.Context(), stream.Usage{Model: fmt.Sprintf("m%d", (w*13+i)%50), Outcome: stream.Complete, Status: http.StatusOK})
			}
		})
	}
	wg.Wait()
	models := values(collect(t, reader), "gen_ai.response.model")
	assert.Len(t, models, 11)
	assert.True(t, models["other"])
}

// Without room for models of its own, every model that is not configured is "other".
func TestNoModels(t *testing.T) {
	t.Parallel()
	metrics, reader := newMetrics(t, observe.MetricsConfig{Models: []string{"mine"}, MaxModels: -1})
	h := events.Hooks{Metrics: metrics}
	for _, model := range []string{"mine", "theirs", "a\nb", strings.Repeat("x", 200)} {
		h.Usage(t.Context(), stream.Usage{Model: model, Outcome: stream.Complete, Status: http.StatusOK})
	}
	assert.Equal(t, map[string]bool{"mine": true, "other": true}, values(collect(t, reader), "gen_ai.response.model"))
}
