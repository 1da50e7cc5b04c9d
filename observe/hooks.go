package observe

import (
	"context"
	"log/slog"
	"time"

	"github.com/ginfer/ginfer/auth"
	"github.com/ginfer/ginfer/balance"
	"github.com/ginfer/ginfer/breaker"
	"github.com/ginfer/ginfer/observe/internal/plain"
	"github.com/ginfer/ginfer/proxy"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/ginfer/ginfer/routing"
	"github.com/ginfer/ginfer/routing/rollout"
	"github.com/ginfer/ginfer/stream"
)

// Hooks is the set of OnEvent functions for the other packages. Each event updates the
// record of its request, for the access log and the other middlewares, and is reported to
// the fields that are set. The zero Hooks updates records only.
//
// Methods for packages that a gateway may use several times take a name, which becomes a
// label, and return the function.
type Hooks struct {
	// Metrics counts the events. Default: none.
	Metrics *Metrics
	// Tracing adds the events to spans. Default: none.
	Tracing *Tracing
	// Logger logs changes that do not belong to a single request: circuits, endpoints,
	// stores, keys, tables. Default: none.
	Logger *slog.Logger
}

// Proxy is a proxy.Config.OnEvent.
func (h Hooks) Proxy(ctx context.Context, e proxy.Event) {
	recordOf(ctx).proxied(&e)
	h.Metrics.exchange(ctx, &e)
	h.Tracing.exchange(ctx, &e)
}

// Usage is a stream.MeterConfig.OnUsage.
func (h Hooks) Usage(ctx context.Context, u stream.Usage) {
	recordOf(ctx).used(ctx, &u)
	h.Metrics.usage(ctx, &u)
	h.Tracing.usage(ctx, &u)
}

// Token is a stream.MeterConfig.OnToken.
func (h Hooks) Token(ctx context.Context, pause time.Duration) {
	recordOf(ctx).token()
	h.Metrics.token(ctx, pause)
}

// Stream is a stream.Config.OnEvent.
func (h Hooks) Stream(ctx context.Context, e stream.Event) {
	recordOf(ctx).streamed(&e)
	h.Metrics.streamed(ctx, &e)
}

// Routing is a routing.Config.OnEvent.
func (h Hooks) Routing(ctx context.Context, e routing.Event) {
	recordOf(ctx).routed(&e)
	h.Metrics.routed(ctx, &e)
	h.Tracing.routed(ctx, &e)
	if e.Kind == routing.Swapped {
		h.log(ctx, slog.LevelInfo, "routing table swapped", "", "", nil)
	}
}

// Rollout is a rollout.Config.OnEvent.
func (h Hooks) Rollout(ctx context.Context, e rollout.Event) {
	h.Metrics.rolledOut(ctx, &e)
	level, message := slog.LevelInfo, "rollout "+e.State.String()
	switch {
	case e.Err != nil:
		level, message = slog.LevelError, "rollout: the store does not respond"
	case e.State == rollout.RolledBack, e.State == rollout.Held:
		level = slog.LevelWarn
	}
	h.log(ctx, level, message, "rollout", e.Name, e.Err, slog.Float64("share", e.Share), slog.String("reason", plain.Clean(e.Reason, plain.Text)))
}

// Auth is an auth.Config.OnEvent.
func (h Hooks) Auth(ctx context.Context, e auth.Event) {
	recordOf(ctx).identified(&e)
	h.Metrics.authenticated(ctx, &e)
}

// Address is an auth.IPFilterConfig.OnEvent.
func (h Hooks) Address(ctx context.Context, _ auth.IPEvent) { h.Metrics.address(ctx) }

// Keys returns an OnEvent of auth.KeySetConfig and auth.APIKeysConfig for the named source, such
// as the issuer or "file".
func (h Hooks) Keys(source string) func(context.Context, auth.KeysEvent) {
	return func(ctx context.Context, e auth.KeysEvent) {
		h.Metrics.keysUpdated(ctx, source, e.Err)
		if e.Err != nil {
			h.log(ctx, slog.LevelError, "keys rejected; the previous keys stay in use", "source", source, e.Err, slog.Int("keys", e.Keys))
			return
		}
		h.log(ctx, slog.LevelInfo, "keys updated", "source", source, nil, slog.Int("keys", e.Keys))
	}
}

// Limit returns an OnEvent of ratelimit's Config, TokensConfig, AdaptiveConfig and
// SharedConfig for the named limiter.
func (h Hooks) Limit(name string) func(context.Context, ratelimit.Event) {
	return func(ctx context.Context, e ratelimit.Event) {
		recordOf(ctx).limited(&e)
		h.Metrics.limited(ctx, name, &e)
		switch e.Kind { //nolint:exhaustive // the others belong to a request
		case ratelimit.StoreDown:
			h.log(ctx, slog.LevelError, "limits: the store does not respond", "limiter", name, e.Err)
		case ratelimit.StoreUp:
			h.log(ctx, slog.LevelInfo, "limits: the store responds again", "limiter", name, nil)
		}
	}
}

// Breaker returns a breaker.Config.OnEvent for the named upstream.
func (h Hooks) Breaker(upstream string) func(context.Context, breaker.Event) {
	return func(ctx context.Context, e breaker.Event) {
		h.Metrics.circuit(ctx, upstream, &e)
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
		h.Metrics.endpoint(ctx, upstream, &e)
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

// log writes a line about the named object, with the error.
func (h Hooks) log(ctx context.Context, level slog.Level, message, key, name string, err error, attrs ...slog.Attr) {
	if h.Logger == nil || !h.Logger.Enabled(ctx, level) {
		return
	}
	if key != "" {
		attrs = append(attrs, slog.String(key, plain.Clean(name, plain.Word)))
	}
	if err != nil {
		attrs = append(attrs, slog.String("error", plain.Redact(err)))
	}
	safely(func() { h.Logger.LogAttrs(ctx, level, message, attrs...) })
}
