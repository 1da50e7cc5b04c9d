package observe

import (
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/auth"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/observe/internal/plain"
	"github.com/ginfer/ginfer/stream"
	"go.opentelemetry.io/otel/trace"
)

// How a request ended.
const (
	outcomeSuccess  = "success"
	outcomeFailure  = "failure"
	outcomeCanceled = "canceled"
	// outcomeRefused: the gateway said no before an upstream was asked, or could not read
	// what the client sent.
	outcomeRefused = "refused"
)

// entry is all that is known of a request. Whatever others chose of it is cleaned
// before it gets here.
type entry struct {
	start    time.Time
	duration time.Duration // 0: it is under way

	id, upstreamID string
	trace          trace.TraceID
	span           trace.SpanID

	method, route, path string
	protocol, minor     int
	status              int
	outcome             string
	code, reason        string // of the error

	identity        *auth.Identity
	operation       string
	model, served   string // asked for, and by its upstream's name
	version         string
	upstream        string
	endpoint        string
	tries           int
	fallback        string // the version that failed
	cache, notCache string // what the cache did, and why it did nothing
	limit           string // that refused
	shadow          string // the limit that would have refused
	waited          time.Duration

	usage     *stream.Usage // of the try that answered; nil: none is known
	firstByte time.Duration
	bytesIn   int64
	bytesOut  int64

	relayed string // how the exchange ended; "": there was none

	tls      bool
	panicked bool
	hedged   bool // a second try was begun
	hedgeWon bool // and was the faster one
}

// firstToken is the time to the first token of a stream, 0 when there was none.
func (e *entry) firstToken() time.Duration {
	if e.usage == nil || !e.usage.Stream || e.usage.Events == 0 {
		return 0
	}
	return e.firstByte
}

func (e *entry) scheme() string {
	if e.tls {
		return "https"
	}
	return "http"
}

// version of HTTP, as the conventions write it.
func (e *entry) protocolVersion() string {
	switch {
	case e.protocol > 1:
		return strconv.Itoa(e.protocol)
	case e.minor == 0:
		return "1.0"
	}
	return "1.1"
}

// close notes how the request ended, and returns all that is known. Every one of
// the package's middlewares calls it, the outermost last.
func (r *record) close(c *gin.Context, returned bool) entry {
	ctx := c.Request.Context()
	r.mu.Lock()
	defer r.mu.Unlock()
	e := &r.entry
	e.duration = max(time.Since(e.start), 1)
	e.status = c.Writer.Status()
	e.bytesOut = int64(max(c.Writer.Size(), 0))
	if e.identity == nil {
		e.identity, _ = auth.FromContext(ctx)
	}
	if last := c.Errors.Last(); last != nil {
		e.code, e.reason = plain.Clean(apierror.From(last.Err).Code, plain.Word), plain.Redact(last.Err)
	}
	// What ends a handler when its client has left is no panic.
	e.panicked = !returned && ctx.Err() == nil && (e.relayed == "" || e.relayed == outcomeFailure)
	if e.panicked && !c.Writer.Written() {
		e.status = http.StatusInternalServerError // what whoever recovers will say
	}
	e.outcome = e.judge(c)
	if e.code == "" && e.status >= http.StatusBadRequest {
		e.code = strconv.Itoa(e.status)
	}
	return *e
}

// judge counts an exchange as the proxy did, and what never became one by its status: a
// client that leaves with an error, or with a whole response, has left because of that.
func (e *entry) judge(c *gin.Context) string {
	switch {
	case e.relayed != "":
		return e.relayed
	case e.status == apierror.StatusClientClosed:
		return outcomeCanceled
	case e.panicked, e.status >= http.StatusInternalServerError:
		return outcomeFailure
	case e.status >= http.StatusBadRequest:
		return outcomeRefused
	case c.Request.Context().Err() != nil && !isWhole(c):
		return outcomeCanceled
	}
	return outcomeSuccess
}

// isWhole reports whether all of a response was written.
func isWhole(c *gin.Context) bool {
	if x := exchange.From(c.Request.Context()); x != nil {
		if served, ok := x.Served(); ok {
			return served.Finished
		}
	}
	length, err := strconv.Atoi(c.Writer.Header().Get("Content-Length"))
	return err == nil && c.Writer.Size() == length
}
