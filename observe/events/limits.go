package events

import (
	"context"
	"log/slog"

	"github.com/ginfer/ginfer/observe/internal/event"
	"github.com/ginfer/ginfer/ratelimit"
)

// Limit returns an OnEvent of ratelimit's Config, TokensConfig, AdaptiveConfig and
// SharedConfig for the named limiter.
func (h Hooks) Limit(name string) func(context.Context, ratelimit.Event) {
	return func(ctx context.Context, e ratelimit.Event) {
		switch e.Kind {
		case ratelimit.Allowed:
			h.report(ctx, &event.Allowed{Limiter: name, Wait: e.Wait, Tokens: e.Tokens})
		case ratelimit.Refused, ratelimit.WouldRefuse:
			h.report(ctx, &event.Refused{Limiter: name, Limit: e.Limit, Shadow: e.Kind == ratelimit.WouldRefuse})
		case ratelimit.Settled:
			h.report(ctx, &event.Settled{Limiter: name, Tokens: e.Tokens})
		case ratelimit.Changed:
			h.report(ctx, &event.Concurrency{Limiter: name, Max: e.Concurrency})
		case ratelimit.StoreDown:
			h.report(ctx, &event.LimitStore{Limiter: name, Down: true})
			h.log(ctx, slog.LevelError, "limits: the store does not respond", "limiter", name, e.Err)
		case ratelimit.StoreUp:
			h.report(ctx, &event.LimitStore{Limiter: name})
			h.log(ctx, slog.LevelInfo, "limits: the store responds again", "limiter", name, nil)
		}
	}
}
