package exchange

import (
	"context"

	"github.com/ginfer/ginfer/internal/ginctx"
)

// TargetKey is the context key under which routing stores the [Target] of a call.
type TargetKey struct{}

// Target is a version at an upstream.
type Target interface {
	Place() (version, upstream string)
}

// TargetOf returns the version and the upstream that a call goes to; "" without routing.
func TargetOf(ctx context.Context) (version, upstream string) {
	if t, ok := ginctx.Value(ctx, TargetKey{}).(Target); ok {
		return t.Place()
	}
	return "", ""
}
