package observe

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/internal/ginctx"
	"github.com/ginfer/ginfer/internal/reach"
	"go.opentelemetry.io/otel/trace"
)

// record is the state of one request. The first of the package's middlewares creates it in
// the request's context, and the packages' events fill it. It is not reused: the losing
// attempt of a hedge may report events after the end of the request.
type record struct {
	writer writer // of the access log

	tokens atomic.Int64 // events of the response with text, except the first
	pauses atomic.Pointer[pauses]

	mu     sync.Mutex
	entry  entry // guarded by mu
	passed []any // in room; the middlewares that the request has passed; guarded by mu
	room   [5]any
}

type recordKey struct{}

// recordOf returns the record in ctx, or nil. Its methods may be called on nil.
func recordOf(ctx context.Context) *record {
	r, _ := ginctx.Value(ctx, recordKey{}).(*record)
	return r
}

// begin returns the request's record, which it creates if needed, and reports whether the
// request has not passed the middleware before: one that is routed again (HandleContext), or has
// the middleware on a group and a route, is recorded once.
func begin(c *gin.Context, middleware any) (r *record, isFirst bool) {
	r = recordOf(c.Request.Context())
	if r == nil {
		r = newRecord(c)
		c.Request = c.Request.WithContext(r.with(c.Request.Context(), c.Writer))
	}
	return r, r.pass(middleware)
}

// pass records that the request passes a middleware, and reports whether it is the first time.
func (r *record) pass(middleware any) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.Contains(r.passed, middleware) {
		return false
	}
	r.passed = append(r.passed, middleware)
	return true
}

// with returns a context that carries the record, and the writer for handlers behind a middleware
// that hides it.
func (r *record) with(ctx context.Context, w http.ResponseWriter) context.Context {
	return reach.Keep(context.WithValue(ctx, recordKey{}, r), w)
}

func newRecord(c *gin.Context) *record {
	r := new(record)
	r.passed = r.room[:0]
	e := &r.entry
	e.start = time.Now()
	e.method = method(c.Request.Method)
	e.route = c.FullPath()
	e.operation = operation(c.Request.URL.Path)
	e.protocol = c.Request.ProtoMajor
	e.minor = c.Request.ProtoMinor
	e.tls = c.Request.TLS != nil
	e.bytesIn = c.Request.ContentLength
	r.traced(trace.SpanContextFromContext(c.Request.Context())) // of a middleware in front
	return r
}

// update calls f with the entry, if there is one.
func (r *record) update(f func(*entry)) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.entry)
}

// snapshot returns a copy of the entry.
func (r *record) snapshot() entry {
	if r == nil {
		return entry{}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.entry
}

// Route returns a handler that names the route of the requests that pass it, such as a
// route group. The default is Gin's template of the path, which requests of a NoRoute
// handler lack. Put it after the package's middlewares.
func Route(name string) gin.HandlerFunc {
	return func(c *gin.Context) {
		recordOf(c.Request.Context()).update(func(e *entry) { e.route = name })
	}
}

// method returns a standard method or "_OTHER", because clients may send any token.
func method(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodOptions, http.MethodConnect, http.MethodTrace:
		return m
	}
	return "_OTHER"
}

// operation returns the operation of a request to a model by the path of its API; "" if
// unknown.
func operation(path string) string {
	switch path[strings.LastIndexByte(path, '/')+1:] {
	case "completions":
		if strings.HasSuffix(path, "/chat/completions") {
			return "chat"
		}
		return "text_completion"
	case "messages", "responses":
		return "chat"
	case "embeddings":
		return "embeddings"
	}
	return ""
}

// traced stores the span of the request.
func (r *record) traced(sc trace.SpanContext) {
	if sc.IsValid() {
		r.update(func(e *entry) { e.trace, e.span = sc.TraceID(), sc.SpanID() })
	}
}
