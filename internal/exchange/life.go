package exchange

import (
	"context"
	"time"
)

// life is the context of an attempt that follows an ended one: it has the values of the
// request that carried that one, and lives as long as what began it.
type life struct {
	values context.Context //nolint:containedctx // it is a context itself
	outer  context.Context //nolint:containedctx // as above
	ended  context.Context //nolint:containedctx // of the attempt that ended
}

func (l life) Deadline() (time.Time, bool) { return l.outer.Deadline() }
func (l life) Done() <-chan struct{}       { return l.outer.Done() }
func (l life) Err() error                  { return l.outer.Err() }

// AfterFunc spares package context a goroutine.
func (l life) AfterFunc(f func()) (stop func() bool) { return context.AfterFunc(l.outer, f) }

// Value implements context.Context. Package context asks for the innermost context that can
// be cancelled, to find out why it was: that is not the ended attempt's.
func (l life) Value(key any) any {
	v := l.values.Value(key)
	if c, ok := v.(context.Context); ok && c == l.ended {
		return l.outer.Value(key)
	}
	return v
}
