package observe

import (
	"context"
	"time"

	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/observe/internal/event"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// Report records an event in the record of its request, the metrics and the spans; m and t may
// be nil. It is for package events, whose Hooks make events of those of the other packages.
func Report(ctx context.Context, m *Metrics, t *Tracing, e event.Event) {
	recordOf(ctx).fill(ctx, e)
	if m != nil {
		m.count(ctx, e)
	}
	if t != nil {
		addEvent(ctx, e)
	}
}

// ReportToken records the pause between two events with text, as [Report] does with other events. It
// is called for each of them, so that it looks up what an attempt's events share only once.
func ReportToken(ctx context.Context, m *Metrics, pause time.Duration) {
	r := recordOf(ctx)
	if r != nil {
		r.tokens.Add(1)
	}
	if m == nil {
		return
	}
	p := r.pausesOf(ctx, m)
	m.in.genPause.Record(p.sampled, pause.Seconds(), p.options...) //nolint:contextcheck // ctx, or an empty one
}

// pauses is what the pauses of one attempt's stream share.
type pauses struct {
	ctx     context.Context //nolint:containedctx // the attempt's
	metrics *Metrics
	sampled context.Context //nolint:containedctx // as returned by sampled
	options []metric.RecordOption
}

// pausesOf returns the pauses of the attempt with the context ctx. It may be called on nil.
func (r *record) pausesOf(ctx context.Context, m *Metrics) *pauses {
	if r != nil {
		if p := r.pauses.Load(); p != nil && p.ctx == ctx && p.metrics == m {
			return p
		}
	}
	version, upstream := exchange.TargetOf(ctx)
	p := &pauses{ctx, m, sampled(ctx), m.sets.record(labels{{keyProvider, m.provider(upstream)}, {keyVersion, m.labels.of(version)}})}
	if r != nil {
		r.pauses.Store(p)
	}
	return p
}

// sampled returns ctx if it has a sampled span, of which metrics make exemplars, else an empty
// context: each metric would look for the span in all of ctx.
func sampled(ctx context.Context) context.Context {
	if trace.SpanContextFromContext(ctx).IsSampled() {
		return ctx
	}
	return context.Background()
}
