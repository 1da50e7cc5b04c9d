// Package otelsetup sets OpenTelemetry up as a gateway needs it: metrics for
// Prometheus to scrape, with exemplars, and metrics and traces to an OTLP collector,
// where the standard environment variables name one.
//
//	telemetry, err := otelsetup.Start(ctx, otelsetup.Config{Service: "gateway"})
//	metrics, err := observe.NewMetrics(observe.MetricsConfig{MeterProvider: telemetry.MeterProvider()})
//	tracing, err := observe.NewTracing(observe.TracingConfig{TracerProvider: telemetry.TracerProvider()})
//	mux.Handle("/metrics", telemetry.Handler())
//	// at the end of the process:
//	err = telemetry.Shutdown(ctx)
//
// It is a package of its own so that whoever brings an SDK of his own does not link
// this one's exporters.
//
// These variables are read, as the specification of OpenTelemetry says:
//
//   - OTEL_EXPORTER_OTLP_ENDPOINT, and _TRACES_ENDPOINT and _METRICS_ENDPOINT: where
//     the collector is. Without them nothing is sent, and no span is recorded; the
//     traces of clients still reach the upstreams.
//   - OTEL_EXPORTER_OTLP_PROTOCOL, and _TRACES_ and _METRICS_: http/protobuf (default)
//     or grpc. The exporters read their other variables (headers, certificates,
//     timeout, compression) themselves.
//   - OTEL_TRACES_EXPORTER and OTEL_METRICS_EXPORTER: none or prometheus keep the one
//     or the other from being sent.
//   - OTEL_TRACES_SAMPLER, OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES,
//     OTEL_METRIC_EXPORT_INTERVAL, OTEL_BSP_*, and the limits of spans: by the SDK.
//   - OTEL_SDK_DISABLED=true: there is no telemetry at all.
//
// What happens on failure: a bad variable is an error of [Start]. A collector that does
// not answer costs no request anything: spans beyond a bounded queue are dropped.
package otelsetup

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/otlptranslator"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	promexporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	noopmetric "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	nooptrace "go.opentelemetry.io/otel/trace/noop"
)

// Config describes a Telemetry. Every field has a default.
type Config struct {
	// Service is its name where OTEL_SERVICE_NAME gives none. Default "gateway".
	Service string
	// Version is the service's. Default none.
	Version string
	// CardinalityLimit bounds the sets of labels of one instrument. Default 5000.
	CardinalityLimit int
}

// Telemetry is OpenTelemetry at work.
type Telemetry struct {
	meters   metric.MeterProvider
	tracers  trace.TracerProvider
	registry *prometheus.Registry
	handler  http.Handler
	stops    []func(context.Context) error
	once     sync.Once
	ended    error
}

// Start sets everything up, by cfg and the environment. The SDK starts goroutines
// that send what is to be sent; [Telemetry.Shutdown] ends them. No globals are set: see
// [Telemetry.Install].
func Start(ctx context.Context, cfg Config) (*Telemetry, error) {
	t := &Telemetry{registry: prometheus.NewRegistry(), meters: noopmetric.NewMeterProvider(), tracers: nooptrace.NewTracerProvider()}
	t.handler = promhttp.HandlerFor(t.registry, promhttp.HandlerOpts{EnableOpenMetrics: true, MaxRequestsInFlight: 4, ErrorHandling: promhttp.ContinueOnError})
	t.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") {
		return t, nil
	}
	about, err := describe(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(t.startMetrics(ctx, cfg, about), t.startTraces(ctx, about)); err != nil {
		return nil, errors.Join(err, t.Shutdown(ctx))
	}
	return t, nil
}

// describe is what is known of the process. The environment wins.
func describe(ctx context.Context, cfg Config) (*resource.Resource, error) {
	name := cfg.Service
	if name == "" {
		name = "gateway"
	}
	attrs := []attribute.KeyValue{attribute.String("service.name", name)}
	if cfg.Version != "" {
		attrs = append(attrs, attribute.String("service.version", cfg.Version))
	}
	return resource.New(ctx, resource.WithAttributes(attrs...), resource.WithTelemetrySDK(), resource.WithHost(), resource.WithFromEnv())
}

func (t *Telemetry) startMetrics(ctx context.Context, cfg Config, about *resource.Resource) error {
	scraped, err := promexporter.New(promexporter.WithRegisterer(t.registry), promexporter.WithoutScopeInfo(),
		promexporter.WithTranslationStrategy(otlptranslator.UnderscoreEscapingWithSuffixes))
	if err != nil {
		return err
	}
	limit := cfg.CardinalityLimit
	if limit == 0 {
		limit = 5000
	}
	stop := func(context.Context) error { return nil }
	options := []sdkmetric.Option{sdkmetric.WithResource(about), sdkmetric.WithReader(scraped), sdkmetric.WithCardinalityLimit(limit)}
	if wanted("METRICS") {
		sent, err := metricExporter(ctx)
		if err != nil {
			return err
		}
		options, stop = append(options, sdkmetric.WithReader(sdkmetric.NewPeriodicReader(sent))), sent.Shutdown
	}
	provider := sdkmetric.NewMeterProvider(options...)
	t.meters = provider
	t.stops = append(t.stops, ending(provider.Shutdown, stop))
	return nil
}

func (t *Telemetry) startTraces(ctx context.Context, about *resource.Resource) error {
	if !wanted("TRACES") {
		return nil
	}
	sent, err := spanExporter(ctx)
	if err != nil {
		return err
	}
	batches := sdktrace.NewBatchSpanProcessor(sent)
	provider := sdktrace.NewTracerProvider(sdktrace.WithResource(about), sdktrace.WithSpanProcessor(batches))
	t.tracers = provider
	t.stops = append(t.stops, ending(provider.Shutdown, batches.Shutdown, sent.Shutdown))
	return nil
}

// ending ends a provider. One whose time is over leaves its parts at work, and its
// exporter trying for another minute, so these are ended besides.
func ending(provider func(context.Context) error, parts ...func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		err := provider(ctx)
		if err != nil {
			for _, stop := range parts {
				_ = stop(ctx) // the provider's error says it
			}
		}
		return err
	}
}

// MeterProvider is for observe.MetricsConfig.
func (t *Telemetry) MeterProvider() metric.MeterProvider { return t.meters }

// TracerProvider is for observe.TracingConfig.
func (t *Telemetry) TracerProvider() trace.TracerProvider { return t.tracers }

// Handler serves the metrics to Prometheus, as OpenMetrics with exemplars to whoever
// accepts it. Those of the Go runtime and the process are among them.
func (t *Telemetry) Handler() http.Handler { return t.handler }

// Registerer takes collectors of your own.
func (t *Telemetry) Registerer() prometheus.Registerer { return t.registry }

// Install makes the providers OpenTelemetry's global ones, for other libraries, with
// W3C Trace Context, and has the SDK's own errors written to logger.
func (t *Telemetry) Install(logger *slog.Logger) {
	otel.SetMeterProvider(t.meters)
	otel.SetTracerProvider(t.tracers)
	otel.SetTextMapPropagator(propagation.TraceContext{})
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { logger.Warn("telemetry", "error", err.Error()) }))
}

// Shutdown sends what is left and ends all goroutines. It waits for the collector as
// long as ctx allows. Later calls return what the first one did.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	t.once.Do(func() {
		faults := make([]error, len(t.stops))
		var wg sync.WaitGroup
		for i, stop := range t.stops {
			wg.Go(func() { faults[i] = stop(ctx) })
		}
		wg.Wait()
		t.ended = errors.Join(faults...)
	})
	return t.ended
}
