package otelsetup

import (
	"context"
	"fmt"
	"os"
	"strings"

	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// wanted reports whether a signal is exported over OTLP: an endpoint is set, and the chosen
// exporters include otlp.
func wanted(signal string) bool {
	if os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") == "" && os.Getenv("OTEL_EXPORTER_OTLP_"+signal+"_ENDPOINT") == "" {
		return false
	}
	chosen := os.Getenv("OTEL_" + signal + "_EXPORTER")
	return chosen == "" || strings.Contains(","+chosen+",", ",otlp,")
}

// protocol reports whether a signal is exported over gRPC.
func protocol(signal string) (grpc bool, err error) {
	name := "OTEL_EXPORTER_OTLP_" + signal + "_PROTOCOL"
	chosen := os.Getenv(name)
	if chosen == "" {
		name = "OTEL_EXPORTER_OTLP_PROTOCOL"
		chosen = os.Getenv(name)
	}
	switch chosen {
	case "", "http/protobuf":
		return false, nil
	case "grpc":
		return true, nil
	}
	return false, fmt.Errorf("otelsetup: %s: %q is neither http/protobuf nor grpc", name, chosen)
}

func spanExporter(ctx context.Context) (sdktrace.SpanExporter, error) {
	grpc, err := protocol("TRACES")
	switch {
	case err != nil:
		return nil, err
	case grpc:
		return otlptracegrpc.New(ctx)
	}
	return otlptracehttp.New(ctx)
}

func metricExporter(ctx context.Context) (sdkmetric.Exporter, error) {
	grpc, err := protocol("METRICS")
	switch {
	case err != nil:
		return nil, err
	case grpc:
		return otlpmetricgrpc.New(ctx)
	}
	return otlpmetrichttp.New(ctx)
}
