package otelsetup_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ginfer/ginfer/observe/otelsetup"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func scrape(t *testing.T, telemetry *otelsetup.Telemetry, accept string) string {
	t.Helper()
	req := httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody)
	req.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	telemetry.Handler().ServeHTTP(w, req)
	require.Equal(t, http.StatusOK, w.Code)
	return w.Body.String()
}

func count(ctx context.Context, t *testing.T, telemetry *otelsetup.Telemetry) {
	t.Helper()
	h, err := telemetry.MeterProvider().Meter("test").Float64Histogram("test.duration")
	require.NoError(t, err)
	h.Record(ctx, 1)
}

// collector is an OTLP collector over HTTP.
func collector(t *testing.T) (url string, paths chan string) {
	t.Helper()
	paths = make(chan string, 100)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		paths <- r.URL.Path
	}))
	t.Cleanup(s.Close)
	return s.URL, paths
}

func TestEnvironment(t *testing.T) {
	url, paths := collector(t)
	tests := map[string]struct {
		env    map[string]string
		spans  bool
		sent   []string
		scrape bool
		fault  string
	}{
		"nothing":           {nil, false, nil, true, ""},
		"endpoint":          {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": url}, true, []string{"/v1/metrics", "/v1/traces"}, true, ""},
		"traces alone":      {map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": url + "/mine"}, true, []string{"/mine"}, true, ""},
		"metrics unwanted":  {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_METRICS_EXPORTER": "prometheus"}, true, []string{"/v1/traces"}, true, ""},
		"metrics wanted":    {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_METRICS_EXPORTER": "prometheus,otlp", "OTEL_TRACES_EXPORTER": "none"}, false, []string{"/v1/metrics"}, true, ""},
		"disabled":          {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_SDK_DISABLED": "true"}, false, nil, false, ""},
		"unknown protocol":  {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, false, nil, false, `OTEL_EXPORTER_OTLP_PROTOCOL: "http/json" is neither`},
		"unknown by signal": {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "x"}, false, nil, false, `OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: "x"`},
		"never sampled":     {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_TRACES_SAMPLER": "always_off", "OTEL_METRICS_EXPORTER": "none"}, false, nil, true, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for key, value := range tt.env {
				t.Setenv(key, value)
			}
			telemetry, err := otelsetup.Start(t.Context(), otelsetup.Config{Service: "mine", Version: "1.2"})
			if tt.fault != "" {
				require.ErrorContains(t, err, tt.fault)
				taken(paths) // end the exports under way
				return
			}
			require.NoError(t, err)
			ctx, span := telemetry.TracerProvider().Tracer("test").Start(t.Context(), "one")
			assert.Equal(t, tt.spans, span.IsRecording())
			count(ctx, t, telemetry)
			span.End()
			text := scrape(t, telemetry, "text/plain")
			assert.Contains(t, text, "go_goroutines")
			assert.Equal(t, tt.scrape, strings.Contains(text, `test_duration_count 1`))
			assert.Equal(t, tt.scrape, strings.Contains(text, `service_name="mine"`))
			require.NoError(t, telemetry.Shutdown(t.Context()))
			require.NoError(t, telemetry.Shutdown(t.Context()), "a second time")
			assert.ElementsMatch(t, tt.sent, taken(paths))
		})
	}
}

// taken returns the paths of the requests so far.
func taken(paths chan string) (all []string) {
	for len(paths) > 0 {
		all = append(all, <-paths)
	}
	return all
}

// An observation within a sampled span has it as an exemplar in OpenMetrics.
func TestExemplars(t *testing.T) {
	url, _ := collector(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
	telemetry, err := otelsetup.Start(t.Context(), otelsetup.Config{})
	require.NoError(t, err)
	ctx, span := telemetry.TracerProvider().Tracer("test").Start(t.Context(), "one")
	count(ctx, t, telemetry)
	span.End()
	assert.Contains(t, scrape(t, telemetry, "application/openmetrics-text; version=1.0.0"), `trace_id="`+span.SpanContext().TraceID().String()+`"`)
	assert.NotContains(t, scrape(t, telemetry, "text/plain"), "trace_id")
	require.NoError(t, telemetry.Shutdown(t.Context()))
}

// An unreachable collector slows down no call, and Shutdown is bounded.
func TestCollectorDown(t *testing.T) {
	handler := otel.GetErrorHandler()
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(error) {}))
	defer otel.SetErrorHandler(handler)
	for _, protocol := range []string{"http/protobuf", "grpc"} {
		t.Run(protocol, func(t *testing.T) {
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
			t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
			telemetry, err := otelsetup.Start(t.Context(), otelsetup.Config{})
			require.NoError(t, err)
			start := time.Now()
			for range 10_000 { // more than the queue has room for
				ctx, span := telemetry.TracerProvider().Tracer("test").Start(t.Context(), "one")
				count(ctx, t, telemetry)
				span.End()
			}
			assert.Less(t, time.Since(start), 5*time.Second)
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			require.Error(t, telemetry.Shutdown(ctx))
			assert.Less(t, time.Since(start), 8*time.Second)
		})
	}
}

// Label sets beyond the bound share one series.
func TestCardinality(t *testing.T) {
	telemetry, err := otelsetup.Start(t.Context(), otelsetup.Config{CardinalityLimit: 10})
	require.NoError(t, err)
	telemetry.Registerer().MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "mine"}))
	c, err := telemetry.MeterProvider().Meter("test").Int64Counter("many")
	require.NoError(t, err)
	for i := range 1000 {
		c.Add(t.Context(), 1, metric.WithAttributes(attribute.Int("n", i)))
	}
	text := scrape(t, telemetry, "")
	assert.Equal(t, 10, strings.Count(text, "\nmany_total{"))
	assert.Contains(t, text, `many_total{otel_metric_overflow="true"} 991`)
	assert.Contains(t, text, "\nmine 0\n")
	require.NoError(t, telemetry.Shutdown(t.Context()))
}

// lines is a buffer that an earlier test's goroutines may still write to.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func TestInstall(t *testing.T) {
	meters, tracers, propagator := otel.GetMeterProvider(), otel.GetTracerProvider(), otel.GetTextMapPropagator()
	telemetry, err := otelsetup.Start(t.Context(), otelsetup.Config{})
	require.NoError(t, err)
	handler := otel.GetErrorHandler()
	var out lines
	telemetry.Install(slog.New(slog.NewTextHandler(&out, nil)))
	defer func() {
		otel.SetErrorHandler(handler)
		otel.SetMeterProvider(meters)
		otel.SetTracerProvider(tracers)
		otel.SetTextMapPropagator(propagator)
	}()
	assert.Equal(t, telemetry.MeterProvider(), otel.GetMeterProvider())
	assert.IsType(t, noop.TracerProvider{}, otel.GetTracerProvider())
	otel.Handle(io.ErrUnexpectedEOF)
	assert.Contains(t, out.String(), "unexpected EOF")
	require.NoError(t, telemetry.Shutdown(t.Context()))
	assert.False(t, trace.SpanContextFromContext(t.Context()).IsValid())
}

// The environment overrides the resource of the Config.
func TestResource(t *testing.T) {
	for name, tt := range map[string]struct {
		cfg  otelsetup.Config
		env  map[string]string
		want []string
	}{
		"default":    {otelsetup.Config{}, nil, []string{`service_name="gateway"`}},
		"config":     {otelsetup.Config{Service: "mine", Version: "1.2"}, nil, []string{`service_name="mine"`, `service_version="1.2"`}},
		"name":       {otelsetup.Config{Service: "mine"}, map[string]string{"OTEL_SERVICE_NAME": "theirs"}, []string{`service_name="theirs"`}},
		"attributes": {otelsetup.Config{Service: "mine"}, map[string]string{"OTEL_RESOURCE_ATTRIBUTES": "service.version=3,zone=b"}, []string{`service_name="mine"`, `service_version="3"`, `zone="b"`}},
	} {
		t.Run(name, func(t *testing.T) {
			for key, value := range tt.env {
				t.Setenv(key, value)
			}
			telemetry, err := otelsetup.Start(t.Context(), tt.cfg)
			require.NoError(t, err)
			count(t.Context(), t, telemetry)
			text := scrape(t, telemetry, "text/plain")
			for _, label := range tt.want {
				assert.Contains(t, text, label)
			}
			require.NoError(t, telemetry.Shutdown(t.Context()))
		})
	}
}

func ExampleStart() {
	telemetry, err := otelsetup.Start(context.Background(), otelsetup.Config{Service: "gateway"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = telemetry.Shutdown(context.Background()) }()
	w := httptest.NewRecorder()
	telemetry.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	fmt.Println(w.Code)
	// Output: 200
}
