package observe_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/auth"
	"github.com/ginfer/ginfer/balance"
	"github.com/ginfer/ginfer/breaker"
	"github.com/ginfer/ginfer/cache"
	"github.com/ginfer/ginfer/observe"
	"github.com/ginfer/ginfer/observe/events"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/ginfer/ginfer/routing"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A change that does not belong to a request is one line, with a level by its gravity.
func TestHooksLog(t *testing.T) {
	t.Parallel()
	down := errors.New("dial tcp: refused")
	type fields = map[string]any
	tests := map[string]struct {
		report func(context.Context, events.Hooks)
		level  string
		msg    string
		fields fields
	}{
		"routing table": {func(ctx context.Context, h events.Hooks) {
			h.Routing(ctx, routing.Event{Kind: routing.Swapped})
		}, "INFO", "routing table swapped", nil},
		"keys fetched": {func(ctx context.Context, h events.Hooks) {
			h.Keys("op")(ctx, auth.KeysEvent{Keys: 2})
		}, "INFO", "keys updated", fields{"source": "op", "keys": 2.0}},
		"keys rejected": {func(ctx context.Context, h events.Hooks) {
			h.Keys("op")(ctx, auth.KeysEvent{Keys: 2, Err: down})
		}, "ERROR", "keys rejected; the previous keys stay in use", fields{"source": "op", "keys": 2.0, "error": "dial tcp: refused"}},
		"key file": {func(ctx context.Context, h events.Hooks) {
			h.Keys("file")(ctx, auth.KeysEvent{Keys: 3})
		}, "INFO", "keys updated", fields{"source": "file", "keys": 3.0}},
		"limits, store down": {func(ctx context.Context, h events.Hooks) {
			h.Limit("chat")(ctx, ratelimit.Event{Kind: ratelimit.StoreDown, Err: down})
		}, "ERROR", "limits: the store does not respond", fields{"limiter": "chat", "error": "dial tcp: refused"}},
		"limits, store up": {func(ctx context.Context, h events.Hooks) {
			h.Limit("chat")(ctx, ratelimit.Event{Kind: ratelimit.StoreUp})
		}, "INFO", "limits: the store responds again", fields{"limiter": "chat"}},
		"cache, store down": {func(ctx context.Context, h events.Hooks) {
			h.Cache("llm")(ctx, cache.Event{Kind: cache.StoreDown, Err: down})
		}, "ERROR", "cache: the store does not respond", fields{"cache": "llm", "error": "dial tcp: refused"}},
		"cache, store up": {func(ctx context.Context, h events.Hooks) {
			h.Cache("llm")(ctx, cache.Event{Kind: cache.StoreUp})
		}, "INFO", "cache: the store responds again", fields{"cache": "llm"}},
		"cache, failed": {func(ctx context.Context, h events.Hooks) {
			h.Cache("llm")(ctx, cache.Event{Kind: cache.Failed, Err: down})
		}, "WARN", "cache: failed; no request was affected", fields{"cache": "llm", "error": "dial tcp: refused"}},
		"cache, purged": {func(ctx context.Context, h events.Hooks) {
			h.Cache("llm")(ctx, cache.Event{Kind: cache.Purged, Tag: "model:m"})
		}, "INFO", "cache: purged", fields{"cache": "llm", "tag": "model:m"}},
		"circuit opened": {func(ctx context.Context, h events.Hooks) {
			h.Breaker("pool")(ctx, breaker.Event{Circuit: "a:1", From: breaker.Closed, To: breaker.Open, Reason: "failures", Sleep: time.Second})
		}, "WARN", "circuit open", fields{"upstream": "pool", "circuit": "a:1", "route": "", "from": "closed", "reason": "failures", "sleep": 1e9}},
		"circuit closed": {func(ctx context.Context, h events.Hooks) {
			h.Breaker("pool")(ctx, breaker.Event{Circuit: "a:1", Route: "/v1/chat", From: breaker.HalfOpen, To: breaker.Closed, Reason: "recovered"})
		}, "INFO", "circuit closed", fields{"upstream": "pool", "circuit": "a:1", "route": "/v1/chat", "from": breaker.HalfOpen.String(), "reason": "recovered", "sleep": 0.0}},
		"endpoint added": {func(ctx context.Context, h events.Hooks) {
			h.Balance("pool")(ctx, balance.Event{Kind: balance.Added, Endpoint: "a:1"})
		}, "INFO", "endpoint added", fields{"upstream": "pool", "endpoint": "a:1", "for": 0.0}},
		"endpoint ejected": {func(ctx context.Context, h events.Hooks) {
			h.Balance("pool")(ctx, balance.Event{Kind: balance.Ejected, Endpoint: "a:1", For: time.Minute})
		}, "WARN", "endpoint ejected", fields{"upstream": "pool", "endpoint": "a:1", "for": 60e9}},
		"endpoint unhealthy": {func(ctx context.Context, h events.Hooks) {
			h.Balance("pool")(ctx, balance.Event{Kind: balance.Unhealthy, Endpoint: "a:1", Err: down})
		}, "WARN", "endpoint " + balance.Unhealthy.String(), fields{"upstream": "pool", "endpoint": "a:1", "for": 0.0, "error": "dial tcp: refused"}},
		"too few endpoints": {func(ctx context.Context, h events.Hooks) {
			h.Balance("pool")(ctx, balance.Event{Kind: balance.PanicEntered})
		}, "ERROR", "endpoint panic_entered", fields{"upstream": "pool", "endpoint": "", "for": 0.0}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out := new(lines)
			tt.report(t.Context(), events.Hooks{Logger: slog.New(slog.NewJSONHandler(out, nil))})
			got := out.one(t)
			delete(got, "time")
			want := fields{"level": tt.level, "msg": tt.msg}
			maps.Copy(want, tt.fields)
			assert.Equal(t, want, got)
		})
	}
}

// Events of a request are in its access log, not lines of their own.
func TestHooksLogNoRequests(t *testing.T) {
	t.Parallel()
	out := new(lines)
	h := events.Hooks{Logger: slog.New(slog.NewJSONHandler(out, nil))}
	access, log := newAccessLog(t, observe.AccessLogConfig{})
	ask(post(), access.Middleware(), func(c *gin.Context) {
		ctx := c.Request.Context()
		h.Routing(ctx, routing.Event{Kind: routing.Decided, Model: "m", Version: "v1"})
		h.Routing(ctx, routing.Event{Kind: routing.Skipped, Version: "v0", Lacks: "tools"})
		h.Limit("chat")(ctx, ratelimit.Event{Kind: ratelimit.Refused, Limit: "rpm", Key: "alice"})
		h.Limit("chat")(ctx, ratelimit.Event{Kind: ratelimit.WouldRefuse, Limit: "trial", Key: "alice"})
		h.Cache("llm")(ctx, cache.Event{Kind: cache.Bypassed, Reason: "no-store"})
		h.Cache("llm")(ctx, cache.Event{Kind: cache.Stored})
	})
	assert.Empty(t, out.String())
	got := log.one(t)
	for key, want := range map[string]any{
		"gateway.route.version": "v1", "gateway.limit": "rpm", "gateway.limit.shadow": "trial",
		"gateway.cache": "bypass", "gateway.cache.reason": "no-store",
	} {
		assert.Equal(t, want, got[key], key)
	}
	assert.NotContains(t, log.String(), "alice", "the key of a limit is not written")
}

// A level that is disabled is not formatted, and a panic of the handler is dropped.
func TestHooksLogger(t *testing.T) {
	t.Parallel()
	out := new(lines)
	quiet := events.Hooks{Logger: slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: slog.LevelError}))}
	quiet.Routing(t.Context(), routing.Event{Kind: routing.Swapped})
	quiet.Breaker("pool")(t.Context(), breaker.Event{Circuit: "a:1", To: breaker.Open})
	assert.Empty(t, out.String())
	quiet.Keys("file")(t.Context(), auth.KeysEvent{Err: errors.New("syntax")})
	assert.Equal(t, "syntax", out.one(t)["error"])

	broken := events.Hooks{Logger: slog.New(panicHandler{})}
	require.NotPanics(t, func() { broken.Routing(t.Context(), routing.Event{Kind: routing.Swapped}) })
}

type panicHandler struct{ slog.Handler }

func (panicHandler) Enabled(context.Context, slog.Level) bool  { return true }
func (panicHandler) Handle(context.Context, slog.Record) error { panic("mine") }
