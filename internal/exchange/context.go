package exchange

import (
	"context"

	"github.com/ginfer/ginfer/internal/ginctx"
)

type lastResortKey struct{}

// WithLastResort marks a request that every endpoint has refused.
func WithLastResort(ctx context.Context) context.Context {
	return context.WithValue(ctx, lastResortKey{}, true)
}

// IsLastResort reports whether ctx was marked by [WithLastResort].
func IsLastResort(ctx context.Context) bool {
	last, _ := ginctx.Value(ctx, lastResortKey{}).(bool)
	return last
}

type usageKey struct{}

// KeepUsage returns a context in which responses keep the usage that the gateway requested.
// A cache uses it: it stores the usage and removes it for readers that did not request it.
func KeepUsage(ctx context.Context) context.Context { return context.WithValue(ctx, usageKey{}, true) }

// KeepsUsage reports whether ctx was marked by [KeepUsage].
func KeepsUsage(ctx context.Context) bool { return ginctx.Value(ctx, usageKey{}) != nil }

type alternativeKey struct{}

// WithAlternative marks a request that can go to another upstream, so that a pool with all
// endpoints cooling down refuses it rather than sending it.
func WithAlternative(ctx context.Context) context.Context {
	return context.WithValue(ctx, alternativeKey{}, true)
}

// HasAlternative reports whether ctx was marked by [WithAlternative].
func HasAlternative(ctx context.Context) bool {
	has, _ := ginctx.Value(ctx, alternativeKey{}).(bool)
	return has
}
