package ginctx

import (
	"context"
	"time"
)

// Detach returns a context with the values of ctx that never ends. Unlike context.WithoutCancel it
// looks values up without an allocation, and events are reported with it for every request.
func Detach(ctx context.Context) context.Context { return &detached{ctx} }

type detached struct {
	values context.Context //nolint:containedctx // only its values are used
}

// Deadline implements context.Context.
func (*detached) Deadline() (deadline time.Time, ok bool) { return time.Time{}, false }

// Done implements context.Context.
func (*detached) Done() <-chan struct{} { return nil }

// Err implements context.Context.
func (*detached) Err() error { return nil }

// Value implements context.Context.
func (d *detached) Value(key any) any { return d.values.Value(key) }
