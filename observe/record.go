package observe

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"go.opentelemetry.io/otel/trace"
)

// record is one request. The first of the package's middlewares makes it, and puts
// it into the request's context; the packages' events fill it. It is not used again
// for another request: the loser of a hedge may still tell of itself when the
// request is long over.
type record struct {
	writer writer // of the access log

	tokens atomic.Int64 // events of its answer with text, but the first

	mu    sync.Mutex
	entry entry // guarded
}

type recordKey struct{}

// recordOf returns the record in ctx, nil when there is none. Its methods may be
// called on nil.
func recordOf(ctx context.Context) *record {
	r, _ := ctx.Value(recordKey{}).(*record)
	return r
}

// begin returns the request's record and puts it into the context.
func begin(c *gin.Context) *record {
	r := recordOf(c.Request.Context())
	if r == nil {
		r = newRecord(c)
		c.Request = c.Request.WithContext(context.WithValue(c.Request.Context(), recordKey{}, r))
	}
	return r
}

func newRecord(c *gin.Context) *record {
	r := new(record)
	e := &r.entry
	e.start = time.Now()
	e.method = method(c.Request.Method)
	e.route = c.FullPath()
	e.operation = operation(c.Request.URL.Path)
	e.protocol = c.Request.ProtoMajor
	e.minor = c.Request.ProtoMinor
	e.tls = c.Request.TLS != nil
	e.bytesIn = c.Request.ContentLength
	return r
}

// update changes the entry, if there is one.
func (r *record) update(f func(*entry)) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.entry)
}

// snapshot is what is known by now.
func (r *record) snapshot() entry {
	if r == nil {
		return entry{}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.entry
}

// token counts one more.
func (r *record) token() {
	if r != nil {
		r.tokens.Add(1)
	}
}

// Route names the route of the requests that pass: a route group, say. Without it
// the name is Gin's template of the path, which requests that a NoRoute handler
// takes do not have. It comes after the package's middlewares.
func Route(name string) gin.HandlerFunc {
	return func(c *gin.Context) {
		recordOf(c.Request.Context()).update(func(e *entry) { e.route = name })
	}
}

// method is one that everybody knows, or "_OTHER": clients may send any word.
func method(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodOptions, http.MethodConnect, http.MethodTrace:
		return m
	}
	return "_OTHER"
}

// operation is what a request asks of a model, by the path of its API; "" when that
// is not known.
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

// traced notes the span of the request.
func (r *record) traced(sc trace.SpanContext) {
	if sc.IsValid() {
		r.update(func(e *entry) { e.trace, e.span = sc.TraceID(), sc.SpanID() })
	}
}
