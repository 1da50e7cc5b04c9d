package events

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/ginfer/ginfer/observe/internal/event"
	"github.com/ginfer/ginfer/observe/internal/plain"
	"github.com/ginfer/ginfer/routing"
	"github.com/ginfer/ginfer/routing/rollout"
)

// Routing is a routing.Config.OnEvent.
func (h Hooks) Routing(ctx context.Context, e routing.Event) {
	switch e.Kind {
	case routing.Decided:
		h.report(ctx, &event.Decided{Model: e.Model, Version: e.Version})
	case routing.FellBack:
		h.report(ctx, &event.FellBack{From: e.From, Version: e.Version, Status: e.Status})
	case routing.Skipped:
		h.report(ctx, &event.Skipped{Version: e.Version, Lacks: e.Lacks})
	case routing.Mirrored:
		outcome := "success"
		if e.Err != nil || e.Status >= http.StatusInternalServerError {
			outcome = "failure"
		}
		h.report(ctx, &event.Mirrored{Version: e.Version, Outcome: outcome})
	case routing.MirrorFull:
		h.report(ctx, &event.Mirrored{Version: e.Version, Outcome: "left_out"})
	case routing.Swapped:
		h.report(ctx, &event.Swapped{})
		h.log(ctx, slog.LevelInfo, "routing table swapped", "", "", nil)
	}
}

// Rollout is a rollout.Config.OnEvent.
func (h Hooks) Rollout(ctx context.Context, e rollout.Event) {
	state := e.State.String()
	level, message := slog.LevelInfo, "rollout "+state
	switch {
	case e.Err != nil:
		state = "store_down"
		level, message = slog.LevelError, "rollout: the store does not respond"
	case e.State == rollout.RolledBack, e.State == rollout.Held:
		level = slog.LevelWarn
	}
	h.report(ctx, &event.Rollout{Name: e.Name, State: state})
	h.log(ctx, level, message, "rollout", e.Name, e.Err, slog.Float64("share", e.Share), slog.String("reason", plain.Clean(e.Reason, plain.Text)))
}
