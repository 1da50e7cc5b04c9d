package observe

import (
	"context"
	"maps"
	"net/http"
	"time"

	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/ginctx"
	"github.com/ginfer/ginfer/observe/internal/plain"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Transport returns a RoundTripper that creates a span for every call of next, up to the
// end of the response, and propagates it to the upstream (W3C Trace Context) in place of
// the client's trace headers. Put it above the meter and below the routing, so that each
// version has its own span with its tokens. In a plain client it may be anywhere.
func (t *Tracing) Transport(next http.RoundTripper) http.RoundTripper { return traced{t, next} }

type traced struct {
	*Tracing
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t traced) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := ginctx.Of(req.Context())
	if t.off {
		return t.next.RoundTrip(t.outbound(ctx, req, trace.SpanContextFromContext(ctx)))
	}
	with, span := t.tracer.Start(ctx, method(req.Method), clientSpan...)
	out := t.outbound(with, req, span.SpanContext())
	if !span.IsRecording() {
		span.End()
		return t.next.RoundTrip(out)
	}
	s := &callSpan{Span: span, ctx: with}
	a, out := exchange.Start(out)
	s.request(req, a)
	res, err := a.Call(out, t.next, s.follow)
	if exchange.IsRefused(err) { // no attempt will end the span
		s.failed(err)
		s.End()
	}
	return res, err
}

//nolint:gochecknoglobals // a constant
var clientSpan = []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindClient)}

// outbound returns the request with the span's headers in place of the client's. It returns
// req itself if nothing changes.
func (t traced) outbound(ctx context.Context, req *http.Request, sc trace.SpanContext) *http.Request {
	if !sc.IsValid() && !sent(req.Header, headerParent, headerState, headerBaggage) {
		return req
	}
	out := req.WithContext(ctx)
	out.Header = maps.Clone(req.Header)
	if out.Header == nil {
		out.Header = make(http.Header, 2)
	}
	delete(out.Header, headerParent)
	delete(out.Header, headerState)
	delete(out.Header, headerBaggage)
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(out.Header))
	if t.cfg.Baggage {
		propagation.Baggage{}.Inject(ctx, propagation.HeaderCarrier(out.Header))
	}
	return out
}

func sent(h http.Header, names ...string) bool {
	for _, name := range names {
		if _, ok := h[name]; ok {
			return true
		}
	}
	return false
}

// callSpan is the span of one call of an upstream.
type callSpan struct {
	trace.Span
	ctx context.Context //nolint:containedctx // it has the request's record
}

// request sets the attributes of the outbound request.
func (s *callSpan) request(req *http.Request, a *exchange.Attempt) {
	var list attributes
	list.text(keyMethod, method(req.Method))
	if req.URL != nil {
		list.text(keyAddress, plain.Clean(req.URL.Hostname(), plain.Word))
	}
	e := recordOf(s.ctx).snapshot()
	list.text(keyOperation, e.operation)
	list.text(keyModel, e.model)
	if version, upstream := exchange.TargetOf(s.ctx); version != "" {
		list.text(keyVersion, plain.Clean(version, plain.Word))
		list.text(keyProvider, plain.Clean(upstream, plain.Word))
		s.SetName(s.name(e.operation, version, req.Method))
	}
	list.number(keyAttempt, int64(a.Number()))
	if n := a.Number(); n > 1 {
		list.number(keyResend, int64(n-1))
	}
	if a.Hedge() {
		list = append(list, keyHedge.Bool(true))
	}
	s.SetAttributes(list...)
}

// name returns a name of low cardinality: clients choose the model, but not the version.
func (*callSpan) name(operation, version, verb string) string {
	if operation == "" {
		operation = method(verb)
	}
	if version == "" {
		return operation
	}
	return operation + " " + plain.Clean(version, plain.Word)
}

// follow ends the span with the attempt that received the response.
func (s *callSpan) follow(a *exchange.Attempt) {
	a.OnContent(func(at time.Time) { s.AddEvent("first content", trace.WithTimestamp(at)) })
	a.OnEnd(s.ended)
}

func (s *callSpan) ended(e *exchange.End) {
	defer s.End()
	if endpoint := e.Attempt.Endpoint(); endpoint != "" {
		s.SetAttributes(keyEndpoint.String(plain.Clean(endpoint, plain.Word)))
	}
	if e.Blame != exchange.Nobody {
		s.SetAttributes(keyBlame.String(e.Blame.String()))
	}
	if e.Status > 0 {
		s.SetAttributes(keyStatus.Int(e.Status))
	}
	switch {
	case e.Outcome == exchange.Canceled:
		s.SetAttributes(keyOutcome.String(outcomeCanceled))
	case e.Status >= http.StatusBadRequest:
		outcome := outcomeRefused
		if e.Outcome == exchange.Failure {
			outcome = outcomeFailure
		}
		s.SetAttributes(keyOutcome.String(outcome), keyErrorType.String(status(e.Status)))
		s.SetStatus(codes.Error, "")
	case e.Outcome == exchange.Failure:
		s.failed(e.Err)
	default:
		s.SetAttributes(keyOutcome.String(outcomeSuccess))
	}
}

func (s *callSpan) failed(err error) {
	s.SetAttributes(keyOutcome.String(outcomeFailure), keyErrorType.String("_OTHER"))
	s.SetStatus(codes.Error, plain.Redact(err))
}
