// Package reach reaches the server's own response writer through the writers of other
// middlewares: to set deadlines on the client's connection, and to break a response that is
// incomplete.
package reach

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/ginfer/ginfer/internal/ginctx"
)

// Conn controls the client's connection behind a response writer. Unlike
// http.ResponseController, it also passes writers that wrap another one without an Unwrap
// method, as long as it is in an exported field, as every embedded gin.ResponseWriter is. Where it
// cannot, it uses the writer that an outer middleware kept in the context; see [Keep].
type Conn struct {
	w   http.ResponseWriter
	ctx context.Context //nolint:containedctx // the request's
}

// Of returns the connection of the request with the context ctx and the response writer w.
func Of(ctx context.Context, w http.ResponseWriter) Conn { return Conn{w, ctx} }

type keptKey struct{}

// kept is a writer in a context, and the one that was kept before it.
type kept struct {
	w     http.ResponseWriter
	outer *kept
}

// Keep returns a context that carries w for the handlers further in.
func Keep(ctx context.Context, w http.ResponseWriter) context.Context {
	return context.WithValue(ctx, keptKey{}, &kept{w, keptIn(ctx)})
}

func keptIn(ctx context.Context) *kept {
	k, _ := ginctx.Value(ctx, keptKey{}).(*kept)
	return k
}

// SetWriteDeadline implements the deadline of http.ResponseController. If none can be set, the
// first call in this process for such a writer logs it.
func (c Conn) SetWriteDeadline(t time.Time) error {
	w, ok := find[interface{ SetWriteDeadline(t time.Time) error }](c)
	if !ok {
		c.warn()
		return http.ErrNotSupported
	}
	return w.SetWriteDeadline(t)
}

// SetReadDeadline implements the deadline of http.ResponseController.
func (c Conn) SetReadDeadline(t time.Time) error {
	w, ok := find[interface{ SetReadDeadline(t time.Time) error }](c)
	if !ok {
		return http.ErrNotSupported
	}
	return w.SetReadDeadline(t)
}

// EnableFullDuplex implements the method of http.ResponseController.
func (c Conn) EnableFullDuplex() error {
	w, ok := find[interface{ EnableFullDuplex() error }](c)
	if !ok {
		return http.ErrNotSupported
	}
	return w.EnableFullDuplex()
}

// Flush sends what was written, through all writers. HTTP/2 returns why the stream has ended.
func (c Conn) Flush() error { return http.NewResponseController(c.w).Flush() }

// Server returns the innermost writer that can be reached: the server's own, unless another
// hides it.
func (c Conn) Server() http.ResponseWriter {
	w := last(c.w)
	for next := c.kept(w); next != nil; next = c.kept(w) {
		w = last(next)
	}
	return w
}

// Informational returns the writer that sends a 1xx response at once when WriteHeader is called with
// its status; nil: there is none. Gin's own writer takes the status for the final one.
func (c Conn) Informational() http.ResponseWriter {
	w := c.Server()
	if _, ok := w.(interface{ SendsInformational() }); ok {
		return w
	}
	if _, ok := w.(interface{ WriteHeaderNow() }); ok {
		return nil
	}
	return w
}

// isServed reports whether a server waits for the response, not a test.
func (c Conn) isServed() bool { return ginctx.Value(c.ctx, http.ServerContextKey) != nil }

// warned has the types of writers for which a warning was logged.
//
//nolint:gochecknoglobals // once in a process
var warned sync.Map

func (c Conn) warn() {
	if !c.isServed() {
		return
	}
	name := fmt.Sprintf("%T", last(c.w))
	if _, before := warned.LoadOrStore(name, true); before {
		return
	}
	slog.WarnContext(c.ctx, "ginfer: a response writer hides the client's connection: no write deadlines, so that a client that does not read "+
		"holds its request until http.Server.WriteTimeout. Give the writer an Unwrap method, or put observe or stream before it.", "writer", name)
}
