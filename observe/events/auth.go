package events

import (
	"context"
	"log/slog"

	"github.com/ginfer/ginfer/auth"
	"github.com/ginfer/ginfer/observe/internal/event"
)

// Auth is an auth.Config.OnEvent.
func (h Hooks) Auth(ctx context.Context, e auth.Event) {
	out := &event.Auth{Err: e.Err, Duration: e.Duration}
	if id := e.Identity; id != nil {
		out.Caller = &event.Caller{Issuer: id.Issuer, Subject: id.Subject, Tenant: id.Tenant, Method: id.Method}
	}
	h.report(ctx, out)
}

// Address is an auth.IPFilterConfig.OnEvent.
func (h Hooks) Address(ctx context.Context, _ auth.IPEvent) { h.report(ctx, &event.Address{}) }

// Keys returns an OnEvent of auth.KeySetConfig and auth.APIKeysConfig for the named source, such
// as the issuer or "file".
func (h Hooks) Keys(source string) func(context.Context, auth.KeysEvent) {
	return func(ctx context.Context, e auth.KeysEvent) {
		h.report(ctx, &event.Keys{Source: source, Err: e.Err})
		if e.Err != nil {
			h.log(ctx, slog.LevelError, "keys rejected; the previous keys stay in use", "source", source, e.Err, slog.Int("keys", e.Keys))
			return
		}
		h.log(ctx, slog.LevelInfo, "keys updated", "source", source, nil, slog.Int("keys", e.Keys))
	}
}
