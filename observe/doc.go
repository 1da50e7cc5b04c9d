// Package observe is the telemetry of a gateway: an access log, metrics, traces, and pages
// of recent requests and live figures. It imports none of the packages that it observes: their
// events come through package events, and the caller by the context.
//
//	access, err := observe.NewAccessLog(observe.AccessLogConfig{Logger: logger})
//	metrics, err := observe.NewMetrics(observe.MetricsConfig{MeterProvider: telemetry.MeterProvider()})
//	tracing, err := observe.NewTracing(observe.TracingConfig{TracerProvider: telemetry.TracerProvider()})
//	recent, err := observe.NewRecent(observe.RecentConfig{})
//	hooks := events.Hooks{Metrics: metrics, Tracing: tracing, Logger: logger}
//
//	r.Use(access.Middleware(), tracing.Middleware(), metrics.Middleware(), recent.Middleware(), apierror.Recovery(onPanic))
//	gateway, err := proxy.New(proxy.Config{Transport: router.Transport(), OnEvent: hooks.Proxy, ...})
//	meter, err := stream.NewMeter(stream.MeterConfig{OnUsage: hooks.Usage, OnToken: hooks.Token, ...})
//	upstream := tracing.Transport(meter.Transport(pool))
//
// # How the parts fit
//
// Each of [AccessLog], [Tracing], [Metrics], [Recent] and [Live] is a middleware that works
// without the others. Put them first in the chain, in the order above, before the recovery
// from panics so that they see its response. The span is then in the context when metrics
// are recorded, and they carry its trace as an exemplar.
//
// The first of them puts a record of the request into its context. The events of the
// packages reach it through events.Hooks: its methods are OnEvent functions. [Route] names the
// route where Gin has no template for the path.
//
// # What is written
//
// A log line has the time and duration, the request and its caller, the version, endpoint
// and attempt that responded, what the cache and the limits did, the tokens, the IDs of
// request and trace, and the outcome:
//
//   - success: the response was sent completely and is not a server error;
//   - failure: the response is a server error, was cut, or is missing;
//   - canceled: the client disconnected;
//   - refused: the gateway refused the request, with a status of 400 to 499 or before an
//     attempt at an upstream, or could not read its body.
//
// Bodies, queries, headers and credentials are never written, and errors are redacted of
// what looks like one. Text that others chose (names of models, subjects, errors) is
// truncated, and characters that are not printable are replaced, so that it can't forge a
// line with any slog.Handler. The subject of a caller is only in the log and on the page of
// [Recent], never in metrics or spans; [Pseudonyms] hides it there.
//
// # Metrics
//
// The names are those of OpenTelemetry's semantic conventions: http.server.* and
// gen_ai.server.* for what clients see, http.client.* and gen_ai.client.* for single
// attempts at upstreams; the gateway's own begin with "gateway.". The values of labels are
// bounded: a model gets one when it is configured or when an upstream has responded for it,
// everything beyond a bound is "other", and callers are never labels.
//
// deploy/helm/ginfer-gateway/files has a dashboard and alerts for them.
//
// # What happens on failure
//
// Telemetry never fails a request: a panic in a logger or a status function is dropped, and
// an unreachable collector costs nothing (package otelsetup). A logger that blocks does
// delay requests: give it a writer that does not block, such as a [LogWriter].
package observe
