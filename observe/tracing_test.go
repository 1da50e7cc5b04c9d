package observe_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/observe"
	"github.com/ginfer/ginfer/observe/events"
	"github.com/ginfer/ginfer/proxy"
	"github.com/ginfer/ginfer/routing"
	"github.com/ginfer/ginfer/stream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

const (
	traceID = "0af7651916cd43dd8448eb211c80319c"
	spanID  = "b7ad6b7169203331"
	parent  = "00-" + traceID + "-" + spanID + "-01"
)

func newTracing(t *testing.T, cfg observe.TracingConfig, opts ...sdktrace.TracerProviderOption) (*observe.Tracing, *tracetest.InMemoryExporter) {
	t.Helper()
	out := tracetest.NewInMemoryExporter()
	cfg.TracerProvider = sdktrace.NewTracerProvider(append(opts, sdktrace.WithSyncer(out))...)
	tracing, err := observe.NewTracing(cfg)
	require.NoError(t, err)
	return tracing, out
}

// upstream responds with body and stores the requests.
type upstream struct {
	status int
	body   io.Reader
	req    *http.Request
}

func (u *upstream) RoundTrip(req *http.Request) (*http.Response, error) {
	u.req = req
	return &http.Response{StatusCode: u.status, Header: http.Header{}, Body: io.NopCloser(u.body)}, nil
}

func responding(body string) *upstream { return &upstream{status: 200, body: strings.NewReader(body)} }

// relay sends the request to rt and reads the response.
func relay(t *testing.T, rt http.RoundTripper) gin.HandlerFunc {
	t.Helper()
	return func(c *gin.Context) {
		res, err := rt.RoundTrip(c.Request)
		if err == nil {
			_, _ = io.Copy(io.Discard, res.Body)
			assert.NoError(t, res.Body.Close())
		}
	}
}

func attrs(list []attribute.KeyValue) map[string]any {
	out := map[string]any{}
	for _, kv := range list {
		out[string(kv.Key)] = kv.Value.AsInterface()
	}
	return out
}

func names(events []sdktrace.Event) (out []string) {
	for _, e := range events {
		out = append(out, e.Name)
	}
	return out
}

// A request has one span, each call another below it, and the upstream receives the latter.
func TestSpans(t *testing.T) {
	t.Parallel()
	tracing, out := newTracing(t, observe.TracingConfig{})
	access, lines := newAccessLog(t, observe.AccessLogConfig{})
	h := events.Hooks{Tracing: tracing}
	up := responding("hello")
	call := tracing.Transport(up)
	ask(post("Traceparent", parent, "Tracestate", "vendor=1", "Baggage", "user=alice"), access.Middleware(), tracing.Middleware(), func(c *gin.Context) {
		ctx := c.Request.Context()
		h.Routing(ctx, routing.Event{Kind: routing.Decided, Model: "m", Version: "v1"})
		relay(t, call)(c)
		h.Usage(ctx, stream.Usage{Model: "m-8b", Input: 3, Output: 4, Estimated: true, Stalls: 1, Stream: true, FirstToken: time.Millisecond, Total: time.Second})
		h.Proxy(ctx, proxy.Event{Kind: proxy.AttemptEnded, Attempt: 1, Outcome: proxy.Failure})
		h.Proxy(ctx, proxy.Event{Kind: proxy.AttemptEnded, Attempt: 2, Endpoint: "a:1"})
		h.Proxy(ctx, proxy.Event{Kind: proxy.AttemptEnded, Attempt: 3, Hedge: true})
		h.Routing(ctx, routing.Event{Kind: routing.FellBack, From: "v1", Version: "v2", Status: 503})
		c.String(http.StatusOK, "hello")
		h.Proxy(ctx, proxy.Event{Kind: proxy.Finished, Attempt: 3, FirstByte: time.Millisecond, Duration: time.Second})
	})
	spans := out.GetSpans()
	require.Len(t, spans, 2)
	client, server := spans[0], spans[1]

	assert.Equal(t, "POST /v1/chat/completions", server.Name)
	assert.Equal(t, trace.SpanKindServer, server.SpanKind)
	assert.Equal(t, traceID, server.SpanContext.TraceID().String())
	assert.Equal(t, spanID, server.Parent.SpanID().String())
	assert.Equal(t, codes.Unset, server.Status.Code)
	assert.Equal(t, []string{"first token", "retry", "hedge", "fallback", "first token"}, names(server.Events))
	got := attrs(server.Attributes)
	for key, want := range map[string]any{
		"http.request.method": "POST", "http.route": "/v1/chat/completions", "http.response.status_code": int64(200), "url.scheme": "http",
		"gateway.outcome": "success", "gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "gen_ai.usage.input_tokens": int64(3),
		"gen_ai.usage.output_tokens": int64(4), "gateway.tokens.estimated": true, "gateway.stalls": int64(1), "gateway.tries": int64(3),
		"gateway.route.version": "v2", "gateway.fallback.from": "v1",
	} {
		assert.Equal(t, want, got[key], key)
	}
	assert.NotContains(t, got, "url.path")
	assert.NotContains(t, got, "url.query")

	assert.Equal(t, trace.SpanKindClient, client.SpanKind)
	assert.Equal(t, server.SpanContext.SpanID(), client.Parent.SpanID())
	assert.Equal(t, []string{"first content"}, names(client.Events))
	assert.Equal(t, "success", attrs(client.Attributes)["gateway.outcome"])
	assert.Equal(t, "00-"+traceID+"-"+client.SpanContext.SpanID().String()+"-01", up.req.Header.Get("Traceparent"))
	assert.Equal(t, "vendor=1", up.req.Header.Get("Tracestate"))
	assert.Empty(t, up.req.Header.Get("Baggage"))

	line := lines.one(t)
	assert.Equal(t, traceID, line["trace_id"])
	assert.Equal(t, server.SpanContext.SpanID().String(), line["span_id"])
	assert.Equal(t, line["request_id"], got["gateway.request.id"])
}

// The client's trace, and how far it is trusted.
func TestIncomingContext(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		header    []string
		untrusted bool
		baggage   bool
		sampler   sdktrace.Sampler

		child, linked  bool
		upstreamBagged bool
	}{
		"none":                          {},
		"child":                         {header: []string{"Traceparent", parent}, child: true},
		"broken":                        {header: []string{"Traceparent", "00-nothex-b7ad6b7169203331-01"}},
		"zero":                          {header: []string{"Traceparent", "00-00000000000000000000000000000000-b7ad6b7169203331-01"}},
		"too long":                      {header: []string{"Traceparent", parent + "-extra"}},
		"untrusted":                     {header: []string{"Traceparent", parent}, untrusted: true, linked: true},
		"untrusted and broken":          {header: []string{"Traceparent", "x"}, untrusted: true},
		"baggage":                       {header: []string{"Traceparent", parent, "Baggage", "a=b"}, baggage: true, child: true, upstreamBagged: true},
		"baggage alone":                 {header: []string{"Baggage", "a=b"}, baggage: true, upstreamBagged: true},
		"baggage by default":            {header: []string{"Traceparent", parent, "Baggage", "a=b"}, child: true},
		"untrusted baggage":             {header: []string{"Traceparent", parent, "Baggage", "a=b"}, baggage: true, untrusted: true, linked: true},
		"untrusted can't force samples": {header: []string{"Traceparent", parent}, untrusted: true, sampler: sdktrace.ParentBased(sdktrace.NeverSample())},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := observe.TracingConfig{Baggage: tt.baggage}
			if tt.untrusted {
				cfg.Untrusted = func(*http.Request) bool { return true }
			}
			var opts []sdktrace.TracerProviderOption
			if tt.sampler != nil {
				opts = append(opts, sdktrace.WithSampler(tt.sampler))
			}
			tracing, out := newTracing(t, cfg, opts...)
			up := responding("")
			var inside trace.SpanContext
			req := post(tt.header...)
			ask(req, tracing.Middleware(), func(c *gin.Context) { inside = trace.SpanContextFromContext(c.Request.Context()) }, relay(t, tracing.Transport(up)))
			assert.True(t, inside.IsValid())
			assert.Equal(t, tt.child, inside.TraceID().String() == traceID)
			assert.True(t, strings.HasPrefix(up.req.Header.Get("Traceparent"), "00-"+inside.TraceID().String()))
			assert.Len(t, up.req.Header.Values("Traceparent"), 1)
			assert.Equal(t, tt.upstreamBagged, up.req.Header.Get("Baggage") == "a=b")
			if tt.sampler != nil {
				assert.Empty(t, out.GetSpans())
				assert.True(t, strings.HasSuffix(up.req.Header.Get("Traceparent"), "-00"))
				return
			}
			server := out.GetSpans()[1]
			if tt.linked {
				require.Len(t, server.Links, 1)
				assert.Equal(t, traceID, server.Links[0].SpanContext.TraceID().String())
			} else {
				assert.Empty(t, server.Links)
			}
			assert.Equal(t, tt.child, server.Parent.IsValid())
		})
	}
}

// Two Traceparent headers count as none.
func TestTwoParents(t *testing.T) {
	t.Parallel()
	tracing, out := newTracing(t, observe.TracingConfig{})
	req := post()
	req.Header["Traceparent"] = []string{parent, parent}
	ask(req, tracing.Middleware())
	assert.False(t, out.GetSpans()[0].Parent.IsValid())
}

// Without an SDK only the client's trace is propagated.
func TestNoSpans(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		header    []string
		untrusted bool
		want      string
	}{
		"nothing":   {nil, false, ""},
		"passes":    {[]string{"Traceparent", parent, "Baggage", "a=b"}, false, parent},
		"broken":    {[]string{"Traceparent", "broken"}, false, ""},
		"untrusted": {[]string{"Traceparent", parent}, true, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := observe.TracingConfig{TracerProvider: noop.NewTracerProvider()}
			if tt.untrusted {
				cfg.Untrusted = func(*http.Request) bool { return true }
			}
			tracing, err := observe.NewTracing(cfg)
			require.NoError(t, err)
			access, lines := newAccessLog(t, observe.AccessLogConfig{})
			up := responding("")
			ask(post(tt.header...), access.Middleware(), tracing.Middleware(), relay(t, tracing.Transport(up)))
			assert.Equal(t, tt.want, up.req.Header.Get("Traceparent"))
			assert.Empty(t, up.req.Header.Get("Baggage"))
			if tt.want != "" {
				assert.Equal(t, traceID, lines.one(t)["trace_id"])
			}
		})
	}
}

// The client's headers stay unchanged, because other attempts share them.
func TestTransportCopiesHeaders(t *testing.T) {
	t.Parallel()
	tracing, _ := newTracing(t, observe.TracingConfig{})
	up := responding("")
	req := post("Traceparent", parent, "Baggage", "a=b")
	res, err := tracing.Transport(up).RoundTrip(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	assert.Equal(t, parent, req.Header.Get("Traceparent"))
	assert.Equal(t, "a=b", req.Header.Get("Baggage"))
	assert.NotEqual(t, parent, up.req.Header.Get("Traceparent"))

	req.Header = nil // as a plain client may send it
	res, err = tracing.Transport(up).RoundTrip(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
}
