package body

import (
	"context"

	"github.com/gin-gonic/gin"
)

// SetCaller sets the caller of a request to a hash of an authenticated identity. Otherwise the
// client's address is used, and all such callers together share one caller's part.
func SetCaller(c *gin.Context, key uint64) {
	ctx := c.Request.Context()
	r, ok := ctx.Value(recordKey{}).(*record)
	if !ok {
		r = &record{bodies: standard(), free: ctx.Done() == nil}
		context.AfterFunc(ctx, r.end)
		c.Request = c.Request.WithContext(context.WithValue(ctx, recordKey{}, r))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.become(caller{key, true})
}

// Raw returns the body as it was sent, encoded or not.
func (h *Held) Raw() []byte { return h.raw }
