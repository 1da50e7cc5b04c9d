// Package observe writes the one log line of a request, counts, and traces. It is the
// only package that knows of the others' events, of OpenTelemetry, and of what
// operators want to see.
//
//	access, err := observe.NewAccessLog(observe.AccessLogConfig{Logger: logger})
//	metrics, err := observe.NewMetrics(observe.MetricsConfig{MeterProvider: telemetry.MeterProvider()})
//	tracing, err := observe.NewTracing(observe.TracingConfig{TracerProvider: telemetry.TracerProvider()})
//	recent, err := observe.NewRecent(observe.RecentConfig{})
//	hooks := observe.Hooks{Metrics: metrics, Tracing: tracing, Logger: logger}
//
//	r.Use(access.Middleware(), tracing.Middleware(), metrics.Middleware(), recent.Middleware(), apierror.Recovery(onPanic))
//	gateway, err := proxy.New(proxy.Config{Transport: router.Transport(), OnEvent: hooks.Proxy, ...})
//	meter, err := stream.NewMeter(stream.MeterConfig{OnUsage: hooks.Usage, OnToken: hooks.Token, ...})
//	upstream := tracing.Transport(meter.Transport(pool))
//
// # How the parts fit
//
// Each of [AccessLog], [Tracing], [Metrics], [Recent] and [Live] is a middleware that works
// without the others. They stand first in the chain, before the recovery from panics,
// so that they see its answer, in the order above: the span is in the context when
// metrics are recorded, which then carry its trace as an exemplar.
//
// The first of them puts a record of the request into its context. The packages' events
// reach it through [Hooks], whose methods fit their OnEvent. [Route] names the route
// where Gin has no template for the path.
//
// # What is written
//
// A line says when and how long, what was asked, by whom, which version at which
// endpoint answered at which try, what the cache and the limits did, the tokens, the
// ids of request and trace, and how it ended:
//
//   - success: the answer went through whole and is no server error;
//   - failure: it is one, or was cut, or there is none;
//   - canceled: the client left;
//   - refused: the gateway itself said no, with a status of 400 to 499 or before it asked
//     an upstream, or the request's body could not be read.
//
// Bodies, queries, headers and credentials are never written, and errors without what
// looks like one. Whatever others choose of a line (names of models, subjects, errors)
// is cut to a bound, and characters that are not printable are replaced, so that
// nobody can forge a line with any slog.Handler. The subject of a caller is in the log and
// on the page of [Recent] alone, never in metrics or spans; [Pseudonyms] hides it there.
//
// # Metrics
//
// The names are those of OpenTelemetry's semantic conventions: http.server.* and
// gen_ai.server.* for what clients see, http.client.* and gen_ai.client.* for single
// tries at upstreams; our own begin with "gateway.". Labels have bounded values: a
// model gets one when it is configured or when an upstream answered for it, everything
// beyond a bound is "other", and callers are never labels.
//
// deploy/helm/ginfer-gateway/files has a dashboard and alerts for them.
//
// # What happens on failure
//
// Telemetry never fails a request: what panics in a logger or a status function is
// dropped, a collector that is down costs nothing (package otelsetup). A logger that
// blocks does hold requests: give it a writer that does not.
package observe
