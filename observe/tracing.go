package observe

import (
	"context"
	"net/http"
	"slices"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/observe/internal/plain"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// TracingConfig configures a Tracing. Every field has a default.
type TracingConfig struct {
	// TracerProvider creates the spans. Default: otel.GetTracerProvider().
	TracerProvider trace.TracerProvider
	// Untrusted reports whether a request comes from outside. Its trace is then linked to
	// the gateway's instead of being its parent and does not decide on sampling, and its
	// baggage is dropped. A public gateway returns true. Default: all requests are trusted.
	Untrusted func(*http.Request) bool
	// Baggage propagates W3C baggage, which may be personal data, to upstreams. Default:
	// false.
	Baggage bool
	// Path adds the path, without its query, to spans. Default: false.
	Path bool
}

// Tracing is a middleware and a RoundTripper that create OpenTelemetry spans of requests
// and of attempts at upstreams. It is safe for concurrent use.
type Tracing struct {
	cfg    TracingConfig
	tracer trace.Tracer
	off    bool                               // the provider creates no spans
	starts map[string][]trace.SpanStartOption // by method
}

// NewTracing returns a Tracing. No Config is invalid: the error is always nil.
func NewTracing(cfg TracingConfig) (*Tracing, error) {
	if cfg.TracerProvider == nil {
		cfg.TracerProvider = otel.GetTracerProvider()
	}
	if cfg.Untrusted == nil {
		cfg.Untrusted = func(*http.Request) bool { return false }
	}
	t := &Tracing{cfg: cfg, tracer: cfg.TracerProvider.Tracer(scope), starts: map[string][]trace.SpanStartOption{}}
	_, t.off = cfg.TracerProvider.(noop.TracerProvider)
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "_OTHER"} {
		t.starts[method] = []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(keyMethod.String(method))}
	}
	return t, nil
}

// Headers of W3C Trace Context and Baggage, in canonical form.
const (
	headerParent  = "Traceparent"
	headerState   = "Tracestate"
	headerBaggage = "Baggage"
)

// Middleware returns the handler that creates the span of a request. Put it after the
// access log, or first. Behind another tracing middleware, such as otelgin or otelhttp, its span
// is internal and a child of theirs, which decides on trust and sampling.
func (t *Tracing) Middleware() gin.HandlerFunc {
	if t.off {
		return t.pass
	}
	return func(c *gin.Context) {
		ctx := c.Request.Context()
		r := recordOf(ctx)
		if r == nil {
			r = newRecord(c)
			ctx = r.with(ctx, c.Writer)
		}
		if !r.pass(t) {
			return
		}
		e := &r.entry // its method does not change
		ctx, opts := t.parent(ctx, c.Request, e.method)
		ctx, span := t.tracer.Start(ctx, e.method, opts...)
		c.Request = c.Request.WithContext(ctx)
		r.traced(span.SpanContext())
		if !span.IsRecording() {
			span.End()
			return
		}
		returned := false
		defer func() { t.end(c, span, r, returned) }()
		c.Next()
		returned = true
	}
}

// pass creates no span, but propagates the client's trace to the upstream.
func (t *Tracing) pass(c *gin.Context) {
	ctx, _ := t.parent(c.Request.Context(), c.Request, "")
	if trace.SpanContextFromContext(ctx).IsValid() {
		c.Request = c.Request.WithContext(ctx)
		recordOf(ctx).traced(trace.SpanContextFromContext(ctx))
	}
}

// parent returns the context and the options of a request's span: a child of the span that a
// middleware in front has begun, else of the client's, or one linked to the client's.
func (t *Tracing) parent(ctx context.Context, r *http.Request, method string) (context.Context, []trace.SpanStartOption) {
	opts := t.starts[method]
	if local := trace.SpanContextFromContext(ctx); local.IsValid() && !local.IsRemote() {
		return ctx, append(slices.Clip(opts), trace.WithSpanKind(trace.SpanKindInternal)) // the server's span is the other one
	}
	carrier := propagation.HeaderCarrier(r.Header)
	one := len(r.Header[headerParent]) == 1 // by the standard, several are invalid
	if !one && !t.cfg.Baggage {
		return ctx, opts
	}
	if t.cfg.Untrusted(r) {
		if remote := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(ctx, carrier)); one && remote.IsValid() {
			opts = append(slices.Clip(opts), trace.WithLinks(trace.Link{SpanContext: remote}), trace.WithNewRoot())
		}
		return ctx, opts
	}
	if one {
		ctx = propagation.TraceContext{}.Extract(ctx, carrier)
	}
	if t.cfg.Baggage {
		ctx = propagation.Baggage{}.Extract(ctx, carrier)
	}
	return ctx, opts
}

// end adds the attributes of the request to its span and ends it.
func (t *Tracing) end(c *gin.Context, span trace.Span, r *record, returned bool) {
	defer span.End()
	e := r.close(c, returned)
	if e.route != "" {
		span.SetName(e.method + " " + e.route)
	}
	var kvs [20]attribute.KeyValue
	list := attributes(kvs[:0])
	list.text(keyRoute, e.route)
	list.text(keyScheme, e.scheme())
	list.text(keyProtocol, e.protocolVersion())
	list.number(keyStatus, int64(e.status))
	list.text(keyOutcome, e.outcome)
	list.text(keyErrorType, e.code)
	list.text(keyRequestID, e.id)
	list.number(keyBytesOut, e.bytesOut)
	if t.cfg.Path {
		list.text(keyPath, plain.Clean(c.Request.URL.Path, plain.Text))
	}
	list.text(keyOperation, e.operation)
	list.text(keyModel, e.model)
	list.text(keyServed, e.served)
	list.text(keyVersion, e.version)
	list.text(keyEndpoint, e.endpoint)
	list.text(keyCache, e.cache)
	list.text(keyLimit, e.limit)
	list.text(keyFrom, e.fallback)
	if e.attempts > 0 {
		list.number(keyAttempts, int64(e.attempts))
	}
	span.SetAttributes(list...)
	if e.outcome == outcomeFailure {
		span.SetStatus(codes.Error, e.reason)
	}
}

// attributes are the attributes of a span. Unknown ones are omitted.
type attributes []attribute.KeyValue

func (a *attributes) text(key attribute.Key, value string) {
	if value != "" {
		*a = append(*a, key.String(value))
	}
}

func (a *attributes) number(key attribute.Key, value int64) { *a = append(*a, key.Int64(value)) }
