// Package otelsetup configures the OpenTelemetry SDK for a gateway: metrics with exemplars
// for Prometheus, and metrics and traces for an OTLP collector if the standard environment
// variables name one.
//
//	telemetry, err := otelsetup.Start(ctx, otelsetup.Config{Service: "gateway"})
//	metrics, err := observe.NewMetrics(observe.MetricsConfig{MeterProvider: telemetry.MeterProvider()})
//	tracing, err := observe.NewTracing(observe.TracingConfig{TracerProvider: telemetry.TracerProvider()})
//	mux.Handle("/metrics", telemetry.Handler())
//	// at the end of the process:
//	err = telemetry.Shutdown(ctx)
//
// It is a separate package so that programs with an SDK setup of their own do not link its
// exporters.
//
// It reads these variables, as specified by OpenTelemetry:
//
//   - OTEL_EXPORTER_OTLP_ENDPOINT, and _TRACES_ENDPOINT and _METRICS_ENDPOINT: the address
//     of the collector. Without them nothing is sent and no span is recorded; the traces
//     of clients still reach the upstreams.
//   - OTEL_EXPORTER_OTLP_PROTOCOL, and _TRACES_ and _METRICS_: http/protobuf (default) or
//     grpc. The exporters read their other variables (headers, certificates, timeout,
//     compression) themselves.
//   - OTEL_TRACES_EXPORTER and OTEL_METRICS_EXPORTER: none or prometheus disable the OTLP
//     export of the signal.
//   - OTEL_TRACES_SAMPLER, OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES,
//     OTEL_METRIC_EXPORT_INTERVAL, OTEL_BSP_*, and the limits of spans: by the SDK.
//   - OTEL_SDK_DISABLED=true: no telemetry of requests.
//
// What happens on failure: an invalid variable is an error of [Start]. An unreachable
// collector does not slow down requests: spans beyond a bounded queue are dropped.
package otelsetup

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"

	"github.com/ginfer/ginfer/internal/fault"
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

// Config configures a Telemetry. Every field has a default.
type Config struct {
	// Service is the service name if OTEL_SERVICE_NAME is not set. Default: "gateway".
	Service string
	// Version is the version of the service. Default: none.
	Version string
	// CardinalityLimit is the maximum number of label sets per instrument. Default: 5,000.
	CardinalityLimit int
}

// Telemetry is a running OpenTelemetry SDK. Create it with [Start].
type Telemetry struct {
	meters   metric.MeterProvider
	tracers  trace.TracerProvider
	registry *prometheus.Registry
	handler  http.Handler
	stops    []func(context.Context) error
	once     sync.Once
	ended    error
}

// Start configures the SDK by cfg and the environment. It starts the SDK's goroutines that
// export; [Telemetry.Shutdown] ends them. It sets no globals: see [Telemetry.Install].
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
	if err := fault.Join(t.startMetrics(ctx, cfg, about), t.startTraces(ctx, about)); err != nil {
		return nil, fault.Join(err, t.Shutdown(ctx))
	}
	return t, nil
}

// describe returns the resource of the process. The environment wins.
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

// ending returns a function that shuts down a provider. After a timeout the provider leaves
// its parts running, and its exporter retrying for another minute, so it shuts these down
// too.
func ending(provider func(context.Context) error, parts ...func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		err := provider(ctx)
		if err != nil {
			for _, stop := range parts {
				_ = stop(ctx) // the provider's error is returned
			}
		}
		return err
	}
}

// MeterProvider returns the provider for observe.MetricsConfig.
func (t *Telemetry) MeterProvider() metric.MeterProvider { return t.meters }

// TracerProvider returns the provider for observe.TracingConfig.
func (t *Telemetry) TracerProvider() trace.TracerProvider { return t.tracers }

// Handler returns the handler for Prometheus, with the metrics of the Go runtime and the
// process too. It serves OpenMetrics with exemplars to scrapers that accept it.
func (t *Telemetry) Handler() http.Handler { return t.handler }

// Registerer returns the registry of [Telemetry.Handler], for collectors of your own.
func (t *Telemetry) Registerer() prometheus.Registerer { return t.registry }

// Install makes the providers OpenTelemetry's global ones, for other libraries, with W3C
// Trace Context. The SDK's errors are logged to logger.
func (t *Telemetry) Install(logger *slog.Logger) {
	otel.SetMeterProvider(t.meters)
	otel.SetTracerProvider(t.tracers)
	otel.SetTextMapPropagator(propagation.TraceContext{})
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { logger.Warn("telemetry", "error", err.Error()) }))
}

// Shutdown exports what is left and ends all goroutines. It waits for the collector until
// ctx ends. Later calls return the result of the first.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	t.once.Do(func() {
		faults := make([]error, len(t.stops))
		var wg sync.WaitGroup
		for i, stop := range t.stops {
			wg.Go(func() { faults[i] = stop(ctx) })
		}
		wg.Wait()
		t.ended = fault.Join(faults...)
	})
	return t.ended
}
