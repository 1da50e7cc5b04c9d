package observe

import (
	"context"
	"time"

	"github.com/ginfer/ginfer/internal/ginctx"
	"github.com/ginfer/ginfer/observe/internal/event"
	"github.com/ginfer/ginfer/observe/internal/plain"
	"go.opentelemetry.io/otel/trace"
)

// addEvent adds an event to the span of its context, if that is recording.
func addEvent(ctx context.Context, e event.Event) {
	span := trace.SpanFromContext(ginctx.Of(ctx))
	if !span.IsRecording() {
		return
	}
	switch e := e.(type) {
	case *event.Exchange:
		addExchange(span, e)
	case *event.FellBack:
		addFallback(span, e)
	case *event.Usage:
		addUsage(span, e)
	}
}

// addExchange adds an event for each further attempt, at its start, and one for the first
// token.
func addExchange(span trace.Span, e *event.Exchange) {
	begin := time.Now().Add(-e.Duration)
	if e.Finished {
		if e.FirstByte > 0 {
			span.AddEvent("first token", trace.WithTimestamp(begin.Add(e.FirstByte)))
		}
		return
	}
	name := "retry"
	switch {
	case e.Hedge:
		name = "hedge"
	case e.Attempt == 1, e.Fallback: // reported by routing
		return
	}
	var list attributes
	list.number(keyAttempt, int64(e.Attempt))
	list.text(keyEndpoint, plain.Clean(e.Endpoint, plain.Word))
	list.text(keyOutcome, e.Outcome)
	span.AddEvent(name, trace.WithTimestamp(begin), trace.WithAttributes(list...))
}

func addFallback(span trace.Span, e *event.FellBack) {
	var list attributes
	list.text(keyFrom, plain.Clean(e.From, plain.Word))
	list.text(keyVersion, plain.Clean(e.Version, plain.Word))
	if e.Status > 0 {
		list.number(keyStatus, int64(e.Status))
	}
	span.AddEvent("fallback", trace.WithAttributes(list...))
}

// addUsage adds the tokens of an attempt to its span.
func addUsage(span trace.Span, u *event.Usage) {
	var list attributes
	list.text(keyServed, plain.Clean(u.Model, plain.Word))
	list.number(keyInput, u.Input)
	list.number(keyOutput, u.Output)
	if u.Estimated {
		list = append(list, keyEstimated.Bool(true))
	}
	if u.Stalls > 0 {
		list.number(keyStalls, int64(u.Stalls))
	}
	span.SetAttributes(list...)
	if u.Stream && u.FirstToken > 0 {
		span.AddEvent("first token", trace.WithTimestamp(time.Now().Add(u.FirstToken-u.Total)))
	}
}
