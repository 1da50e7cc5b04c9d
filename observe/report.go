package observe

import (
	"context"

	"github.com/ginfer/ginfer/observe/internal/event"
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
