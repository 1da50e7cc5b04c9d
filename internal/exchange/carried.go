package exchange

import (
	"context"
	"net/http"
	"sync/atomic"
)

// carried is a context with one value. It remembers what it found in the contexts around it, since
// packages look up the same values for each event of a stream, behind a dozen other contexts.
type carried struct {
	context.Context //nolint:containedctx // it is a context itself

	key, value any
	n          atomic.Int32 // of found, or more
	found      [6]found
}

// found is a value that was found.
type found struct {
	ready      atomic.Bool
	key, value any
}

func (c *carried) set(ctx context.Context, key, value any) {
	c.Context, c.key, c.value = ctx, key, value
}

// Value implements context.Context.
func (c *carried) Value(key any) any {
	if key == c.key {
		return c.value
	}
	for i := range min(int(c.n.Load()), len(c.found)) {
		if f := &c.found[i]; f.ready.Load() && f.key == key {
			return f.value
		}
	}
	v := c.Context.Value(key)
	if _, changes := v.(*http.Request); changes { // that of a *gin.Context
		return v
	}
	if int(c.n.Load()) >= len(c.found) {
		return v
	}
	if i := int(c.n.Add(1)) - 1; i < len(c.found) { // others may have been faster
		c.found[i].key, c.found[i].value = key, v
		c.found[i].ready.Store(true)
	}
	return v
}
