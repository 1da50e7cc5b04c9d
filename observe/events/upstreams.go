package events

import (
	"context"
	"log/slog"

	"github.com/ginfer/ginfer/balance"
	"github.com/ginfer/ginfer/breaker"
	"github.com/ginfer/ginfer/observe/internal/event"
	"github.com/ginfer/ginfer/observe/internal/plain"
)

// Breaker returns a breaker.Config.OnEvent for the named upstream.
func (h Hooks) Breaker(upstream string) func(context.Context, breaker.Event) {
	return func(ctx context.Context, e breaker.Event) {
		if e.Route == "" { // the names of routes are not bounded
			h.report(ctx, &event.Circuit{Upstream: upstream, Circuit: e.Circuit, State: e.To.String(), Reason: e.Reason})
		}
		level := slog.LevelInfo
		if e.To == breaker.Open {
			level = slog.LevelWarn
		}
		h.log(ctx, level, "circuit "+e.To.String(), "upstream", upstream, nil,
			slog.String("circuit", plain.Clean(e.Circuit, plain.Word)), slog.String("route", plain.Clean(e.Route, plain.Word)), slog.String("from", e.From.String()), slog.String("reason", e.Reason), slog.Duration("sleep", e.Sleep))
	}
}

// Balance returns a balance.Config.OnEvent for the named upstream.
func (h Hooks) Balance(upstream string) func(context.Context, balance.Event) {
	return func(ctx context.Context, e balance.Event) {
		h.report(ctx, &event.Endpoint{Upstream: upstream, Endpoint: e.Endpoint, Change: e.Kind.String()})
		level := slog.LevelInfo
		switch e.Kind { //nolint:exhaustive // the others are recoveries or intended
		case balance.Ejected, balance.Unhealthy:
			level = slog.LevelWarn
		case balance.PanicEntered:
			level = slog.LevelError
		}
		h.log(ctx, level, "endpoint "+e.Kind.String(), "upstream", upstream, e.Err, slog.String("endpoint", plain.Clean(e.Endpoint, plain.Word)), slog.Duration("for", e.For))
	}
}
