package observe

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"sync/atomic"

	"github.com/ginfer/ginfer/internal/attempt"
	"github.com/ginfer/ginfer/observe/internal/plain"
	"github.com/ginfer/ginfer/routing"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Transport returns a RoundTripper that makes a span of every call of next, up to the
// close of the answer's body, and tells the upstream of it (W3C Trace Context). What
// the client said of a trace does not reach the upstream. It stands above the meter and
// below the routing, so that each version that is asked has a span of its own, with
// the tokens that it took; in a plain client it stands where you like.
func (t *Tracing) Transport(next http.RoundTripper) http.RoundTripper { return traced{t, next} }

type traced struct {
	*Tracing
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t traced) RoundTrip(req *http.Request) (*http.Response, error) {
	if t.off {
		return t.next.RoundTrip(t.outbound(req.Context(), req, trace.SpanContextFromContext(req.Context())))
	}
	with, span := t.tracer.Start(req.Context(), method(req.Method), clientSpan...)
	out := t.outbound(with, req, span.SpanContext())
	if !span.IsRecording() {
		span.End()
		return t.next.RoundTrip(out)
	}
	s := &callSpan{Span: span, ctx: with}
	s.asked(req)
	res, err := t.next.RoundTrip(out)
	if err != nil {
		s.end(err)
		return nil, err
	}
	s.answered(res)
	return res, nil
}

//nolint:gochecknoglobals // a constant
var clientSpan = []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindClient)}

// outbound is the request with the span's headers in place of the client's. It is req
// itself if nothing changes.
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
	ctx   context.Context //nolint:containedctx // asked for its end when the body is closed
	begun bool
	over  atomic.Bool
}

// asked says what is asked for.
func (s *callSpan) asked(req *http.Request) {
	var list attributes
	list.text(keyMethod, method(req.Method))
	if req.URL != nil {
		list.text(keyAddress, plain.Clean(req.URL.Hostname(), plain.Word))
	}
	e := recordOf(s.ctx).snapshot()
	list.text(keyOperation, e.operation)
	list.text(keyModel, e.model)
	if target, ok := routing.TargetFrom(s.ctx); ok {
		list.text(keyVersion, plain.Clean(target.Version, plain.Word))
		list.text(keyProvider, plain.Clean(target.Upstream, plain.Word))
		s.SetName(s.name(e.operation, target.Version, req.Method))
	}
	if try := attempt.From(s.ctx); try != nil {
		list.number(keyTry, int64(try.Number()))
		if n := try.Number(); n > 1 {
			list.number(keyResend, int64(n-1))
		}
		if try.Hedge() {
			list = append(list, keyHedge.Bool(true))
		}
	}
	s.SetAttributes(list...)
}

// name is of few different ones: the model is the client's word, the version is not.
func (*callSpan) name(operation, version, verb string) string {
	if operation == "" {
		operation = method(verb)
	}
	if version == "" {
		return operation
	}
	return operation + " " + plain.Clean(version, plain.Word)
}

func (s *callSpan) answered(res *http.Response) {
	s.SetAttributes(keyStatus.Int(res.StatusCode))
	if res.StatusCode >= http.StatusBadRequest {
		s.SetAttributes(keyErrorType.String(status(res.StatusCode)))
		s.SetStatus(codes.Error, "")
	}
	if res.Body == nil {
		res.Body = http.NoBody
	}
	body := &tracedBody{ReadCloser: res.Body, span: s}
	if w, ok := res.Body.(io.Writer); ok { // what a connection is switched to
		res.Body = tracedDuplex{body, w}
		return
	}
	res.Body = body
}

// end ends the span: once, whatever comes first.
func (s *callSpan) end(err error) {
	if s.over.Swap(true) {
		return
	}
	defer s.End()
	try := attempt.From(s.ctx)
	if endpoint := try.Endpoint(); endpoint != "" {
		s.SetAttributes(keyEndpoint.String(plain.Clean(endpoint, plain.Word)))
	}
	verdict := try.Err()
	switch {
	case verdict == nil && err == nil:
		s.SetAttributes(keyOutcome.String(outcomeSuccess))
	case verdict == nil && (attempt.Abandoned(s.ctx) || errors.Is(err, errClosed)):
		s.SetAttributes(keyOutcome.String(outcomeCanceled))
	default:
		if verdict != nil {
			err = verdict
		}
		s.SetAttributes(keyOutcome.String(outcomeFailure), keyErrorType.String("_OTHER"))
		s.SetStatus(codes.Error, plain.Redact(err))
	}
}

// errClosed: the rest of the body was not wanted.
var errClosed = errors.New("closed before its end")

// tracedBody ends the span when it is closed.
type tracedBody struct {
	io.ReadCloser
	span *callSpan
	err  error // that ended it
}

type tracedDuplex struct {
	*tracedBody
	io.Writer
}

// Read implements io.Reader.
func (b *tracedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 && !b.span.begun {
		b.span.begun = true
		b.span.AddEvent("first byte")
	}
	if err != nil {
		b.err = err
	}
	return n, err
}

// Close implements io.Closer.
func (b *tracedBody) Close() error {
	err := b.ReadCloser.Close()
	switch {
	case errors.Is(b.err, io.EOF):
		b.span.end(nil)
	case b.err != nil:
		b.span.end(b.err)
	default:
		b.span.end(errClosed)
	}
	return err
}
