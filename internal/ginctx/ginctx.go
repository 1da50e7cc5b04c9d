// Package ginctx reads the values of a request's context, also from a *gin.Context and from
// contexts derived from one. By default (Engine.ContextWithFallback is off) a *gin.Context does
// not look into the context of its request. All packages read their values through this one.
package ginctx

import (
	"context"
	"net/http"

	"github.com/gin-gonic/gin"
)

// Value returns the value of key in ctx, else in the context of the Gin request that ctx belongs
// to, else nil.
func Value(ctx context.Context, key any) any {
	if v := ctx.Value(key); v != nil {
		return v
	}
	if r := requestOf(ctx); r != nil {
		return r.Context().Value(key)
	}
	return nil
}

// Of returns a context with the same values as [Value] has, for functions that derive a context
// or pass one to other packages. Of a *gin.Context it is the context of its request, which ends
// with the request. Other contexts keep their own end.
func Of(ctx context.Context) context.Context {
	r := requestOf(ctx)
	if r == nil {
		return ctx
	}
	if _, ok := ctx.(*gin.Context); ok {
		return r.Context()
	}
	return joined{ctx, r.Context()}
}

// requestOf returns the request of the *gin.Context that ctx is derived from, or nil.
func requestOf(ctx context.Context) *http.Request {
	r, _ := ctx.Value(gin.ContextRequestKey).(*http.Request)
	return r
}

// joined is a context with the values of another one beneath its own.
type joined struct {
	context.Context //nolint:containedctx // it is a context itself

	beneath context.Context //nolint:containedctx // as above
}

// Value implements context.Context.
func (j joined) Value(key any) any {
	if v := j.Context.Value(key); v != nil {
		return v
	}
	return j.beneath.Value(key)
}
