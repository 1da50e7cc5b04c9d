package events

import (
	"context"
	"errors"
	"time"

	"github.com/ginfer/ginfer/observe"
	"github.com/ginfer/ginfer/observe/internal/event"
	"github.com/ginfer/ginfer/proxy"
	"github.com/ginfer/ginfer/stream"
)

// Proxy is a proxy.Config.OnEvent.
func (h Hooks) Proxy(ctx context.Context, e proxy.Event) {
	h.report(ctx, &event.Exchange{
		Finished: e.Kind == proxy.Finished, Hedge: e.Hedge, Fallback: e.Fallback,
		Attempt: e.Attempt, Endpoint: e.Endpoint, Status: e.Status, Outcome: e.Outcome.String(), Err: e.Err,
		FirstByte: e.FirstByte, Duration: e.Duration, Bytes: e.Bytes,
	})
}

// Usage is a stream.MeterConfig.OnUsage.
func (h Hooks) Usage(ctx context.Context, u stream.Usage) {
	h.report(ctx, &event.Usage{
		Model: u.Model, Status: u.Status, Outcome: outcome(u.Outcome),
		Input: u.Input, Output: u.Output, Cached: u.Cached, Estimated: u.Estimated,
		Stream: u.Stream, Events: u.Events, FirstToken: u.FirstToken, PerToken: u.PerToken, Total: u.Total, Stalls: u.Stalls,
	})
}

func outcome(o stream.Outcome) string {
	switch o {
	case stream.Complete:
		return event.Complete
	case stream.Canceled:
		return event.Canceled
	case stream.Failed:
	}
	return event.Failed
}

// Token is a stream.MeterConfig.OnToken.
func (h Hooks) Token(ctx context.Context, pause time.Duration) {
	observe.ReportToken(ctx, h.Metrics, pause)
}

// Stream is a stream.Config.OnEvent.
func (h Hooks) Stream(ctx context.Context, e stream.Event) {
	h.report(ctx, &event.Stream{Err: e.Err, Reason: reason(e.Err), Heartbeats: e.Heartbeats})
}

// reason returns the reason why a stream's guard ended it, or "none".
func reason(err error) string {
	for reason, one := range map[string]error{"idle": stream.ErrIdle, "total": stream.ErrTotal, "draining": stream.ErrDraining, "slow_client": stream.ErrSlowClient} {
		if errors.Is(err, one) {
			return reason
		}
	}
	return "none"
}
