package exchange

import (
	"context"
)

type lastResortKey struct{}

// WithLastResort marks a request that every endpoint refused: there is nowhere else to go.
func WithLastResort(ctx context.Context) context.Context {
	return context.WithValue(ctx, lastResortKey{}, true)
}

// IsLastResort reports whether ctx is marked so.
func IsLastResort(ctx context.Context) bool {
	last, _ := ctx.Value(lastResortKey{}).(bool)
	return last
}

type versionKey struct{}

// WithVersion notes which version of a model a request goes to, for those below that keep
// versions apart.
func WithVersion(ctx context.Context, version string) context.Context {
	return context.WithValue(ctx, versionKey{}, version)
}

// Version is what WithVersion noted; "" when nobody did.
func Version(ctx context.Context) string {
	version, _ := ctx.Value(versionKey{}).(string)
	return version
}

type usageKey struct{}

// KeepUsage returns a context in which responses keep the usage that the gateway asked
// for. A cache sets it: it stores that, and takes it out for each reader who did not ask.
func KeepUsage(ctx context.Context) context.Context { return context.WithValue(ctx, usageKey{}, true) }

// KeepsUsage reports whether ctx is of [KeepUsage].
func KeepsUsage(ctx context.Context) bool { return ctx.Value(usageKey{}) != nil }

type alternativeKey struct{}

// WithAlternative marks a request that can go to another upstream: one that none here has
// room for is refused rather than sent.
func WithAlternative(ctx context.Context) context.Context {
	return context.WithValue(ctx, alternativeKey{}, true)
}

// HasAlternative reports whether ctx is marked so.
func HasAlternative(ctx context.Context) bool {
	has, _ := ctx.Value(alternativeKey{}).(bool)
	return has
}
