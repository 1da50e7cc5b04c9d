package e2e_test

import (
	"cmp"
	"compress/gzip"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ginfer/ginfer/observe"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metricspb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	tracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	spanpb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// collector is an OTLP collector, over gRPC and HTTP.
type collector struct {
	tracepb.UnimplementedTraceServiceServer

	metrics metricsService

	mu      sync.Mutex
	spans   []*spanpb.Span
	names   map[string]bool
	service string
	raw     strings.Builder
}

type metricsService struct {
	metricspb.UnimplementedMetricsServiceServer

	to *collector
}

func newCollector() *collector {
	c := &collector{names: map[string]bool{}}
	c.metrics.to = c
	return c
}

// Export implements the service of traces.
func (c *collector) Export(_ context.Context, req *tracepb.ExportTraceServiceRequest) (*tracepb.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw.WriteString(req.String())
	for _, resource := range req.GetResourceSpans() {
		for _, kv := range resource.GetResource().GetAttributes() {
			if kv.GetKey() == "service.name" {
				c.service = kv.GetValue().GetStringValue()
			}
		}
		for _, scope := range resource.GetScopeSpans() {
			c.spans = append(c.spans, scope.GetSpans()...)
		}
	}
	return &tracepb.ExportTraceServiceResponse{}, nil
}

// Export implements the service of metrics.
func (m *metricsService) Export(_ context.Context, req *metricspb.ExportMetricsServiceRequest) (*metricspb.ExportMetricsServiceResponse, error) {
	c := m.to
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw.WriteString(req.String())
	for _, resource := range req.GetResourceMetrics() {
		for _, scope := range resource.GetScopeMetrics() {
			for _, metric := range scope.GetMetrics() {
				c.names[metric.GetName()] = true
			}
		}
	}
	return &metricspb.ExportMetricsServiceResponse{}, nil
}

// ServeHTTP implements OTLP over HTTP.
func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		body, _ = gzip.NewReader(r.Body)
	}
	text, _ := io.ReadAll(body)
	var response proto.Message
	var err error
	if r.URL.Path == "/v1/traces" {
		req := new(tracepb.ExportTraceServiceRequest)
		_ = proto.Unmarshal(text, req)
		response, err = c.Export(r.Context(), req)
	} else {
		req := new(metricspb.ExportMetricsServiceRequest)
		_ = proto.Unmarshal(text, req)
		response, err = c.metrics.Export(r.Context(), req)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
	text, _ = proto.Marshal(response)
	_, _ = w.Write(text)
}

// serveGRPC serves OTLP over gRPC and returns the URL.
func (c *collector) serveGRPC(t *testing.T) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := grpc.NewServer()
	tracepb.RegisterTraceServiceServer(s, c)
	metricspb.RegisterMetricsServiceServer(s, &c.metrics)
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Serve(l) })
	t.Cleanup(func() { s.Stop(); wg.Wait() })
	return "http://" + l.Addr().String()
}

const (
	clientTrace = "4bf92f3577b34da6a3ce929d0e0e4736"
	clientSpan  = "00f067aa0ba902b7"
)

// One trace id goes from the client through the gateway to the upstream and to a collector,
// over both protocols.
func TestObserveOneTrace(t *testing.T) {
	for _, protocol := range []string{"http/protobuf", "grpc"} {
		t.Run(protocol, func(t *testing.T) {
			c := newCollector()
			if protocol == "grpc" {
				t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.serveGRPC(t))
			} else {
				t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", newServer(t, c).URL)
			}
			t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
			t.Setenv("OTEL_SERVICE_NAME", "my-gateway")
			o := newObserved(t, observe.TracingConfig{})
			trace := []string{"Traceparent", "00-" + clientTrace + "-" + clientSpan + "-01", "Tracestate", "vendor=1"}
			o.sendAll(t, "streamed", streamChat, trace...)
			o.sendAll(t, "retried", jsonChat, append(trace, "X-Test", "503 first")...)
			o.sendAll(t, "fallen", downChat, trace...)
			line := o.log.request(t, "streamed")
			o.Close() // waits for the handlers
			require.NoError(t, o.telemetry.Shutdown(t.Context()))

			assert.Equal(t, "my-gateway", c.service)
			assert.Equal(t, clientTrace, line["trace_id"])
			servers := c.spansOf(spanpb.Span_SPAN_KIND_SERVER)
			clients := c.spansOf(spanpb.Span_SPAN_KIND_CLIENT)
			require.Len(t, servers, 3)
			require.Len(t, clients, 5)
			for _, s := range servers {
				assert.Equal(t, clientSpan, hex.EncodeToString(s.GetParentSpanId()))
				assert.Equal(t, "POST /v1/chat/completions", s.GetName())
				assert.Equal(t, "vendor=1", s.GetTraceState())
			}
			assertOneTrace(t, c.spans, servers)
			assert.Equal(t, []string{"first token"}, eventsOf(servers[0]))
			assert.Equal(t, []string{"retry", "first token"}, eventsOf(servers[1]))
			assert.Equal(t, []string{"fallback", "first token"}, eventsOf(servers[2]))
			assert.Equal(t, []string{"first content", "first token"}, eventsOf(clients[0]))
			assert.Equal(t, int64(22), attributeOf(clients[0], "gen_ai.usage.output_tokens"))
			assert.Equal(t, int64(503), attributeOf(clients[1], "http.response.status_code"))
			assert.Equal(t, int64(1), attributeOf(clients[2], "http.request.resend_count"))
			assert.Equal(t, "failure", attributeOf(clients[3], "gateway.outcome"))
			o.assertTraceparents(t, clients)
			for _, name := range []string{"http.server.request.duration", "gen_ai.client.token.usage", "gateway.tries"} {
				assert.True(t, c.names[name], name)
			}
			for _, secret := range []string{o.key, "cookie-secret", "query-secret", "secret prompt", "the answer", "alice", "acme"} {
				assert.NotContains(t, c.raw.String(), secret)
			}
		})
	}
}

// assertOneTrace checks that all spans belong to the client's trace, with those of calls below
// those of requests.
func assertOneTrace(t *testing.T, all, servers []*spanpb.Span) {
	t.Helper()
	parents := map[string]bool{clientSpan: true}
	for _, s := range servers {
		parents[hex.EncodeToString(s.GetSpanId())] = true
	}
	for _, s := range all {
		assert.Equal(t, clientTrace, hex.EncodeToString(s.GetTraceId()))
		assert.True(t, parents[hex.EncodeToString(s.GetParentSpanId())])
	}
}

// assertTraceparents checks that each upstream received the span of its call.
func (o *observed) assertTraceparents(t *testing.T, calls []*spanpb.Span) {
	t.Helper()
	var traceparents []string
	for _, m := range o.models {
		parents, _ := m.seen()
		traceparents = append(traceparents, parents...)
	}
	assert.Len(t, traceparents, 4)
	for i, s := range calls {
		if i == 3 { // the connection was refused
			continue
		}
		assert.Contains(t, traceparents, fmt.Sprintf("00-%s-%x-01", clientTrace, s.GetSpanId()))
	}
}

// spansOf returns the spans of a kind in the order of their start.
func (c *collector) spansOf(kind spanpb.Span_SpanKind) (out []*spanpb.Span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.spans {
		if s.GetKind() == kind {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b *spanpb.Span) int { return cmp.Compare(a.GetStartTimeUnixNano(), b.GetStartTimeUnixNano()) })
	return out
}

func eventsOf(s *spanpb.Span) (names []string) {
	for _, e := range s.GetEvents() {
		names = append(names, e.GetName())
	}
	return names
}

func attributeOf(s *spanpb.Span, key string) any {
	for _, kv := range s.GetAttributes() {
		if kv.GetKey() == key {
			if text, ok := kv.GetValue().GetValue().(*commonpb.AnyValue_StringValue); ok {
				return text.StringValue
			}
			return kv.GetValue().GetIntValue()
		}
	}
	return nil
}

// An untrusted client can neither join the gateway's trace nor force sampling.
func TestObserveUntrustedTrace(t *testing.T) {
	c := newCollector()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", newServer(t, c).URL)
	o := newObserved(t, observe.TracingConfig{Untrusted: func(*http.Request) bool { return true }})
	o.sendAll(t, "outside", jsonChat, "Traceparent", "00-"+clientTrace+"-"+clientSpan+"-01", "Baggage", "user=alice")
	o.Close()
	require.NoError(t, o.telemetry.Shutdown(t.Context()))
	servers := c.spansOf(spanpb.Span_SPAN_KIND_SERVER)
	require.Len(t, servers, 1)
	assert.NotEqual(t, clientTrace, hex.EncodeToString(servers[0].GetTraceId()))
	require.Len(t, servers[0].GetLinks(), 1)
	assert.Equal(t, clientTrace, hex.EncodeToString(servers[0].GetLinks()[0].GetTraceId()))
	parents, _ := o.models["v1.2"].seen()
	assert.Contains(t, parents[0], hex.EncodeToString(servers[0].GetTraceId()))
}
