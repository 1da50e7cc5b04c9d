package observe

import (
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/observe/internal/event"
	"github.com/ginfer/ginfer/observe/internal/plain"
	"go.opentelemetry.io/otel/trace"
)

// Outcomes of a request.
const (
	outcomeSuccess  = "success"
	outcomeFailure  = "failure"
	outcomeCanceled = "canceled"
	// outcomeRefused: the gateway refused it before an attempt, or could not read its body.
	outcomeRefused = "refused"
)

// entry is the state of a request's record. Text that others chose is cleaned before it is
// stored.
type entry struct {
	start    time.Time
	duration time.Duration // 0 while it is under way

	id, upstreamID string
	trace          trace.TraceID
	span           trace.SpanID

	method, route, path string
	protocol, minor     int
	status              int
	outcome             string
	code, reason        string // of the error

	caller          *Caller
	operation       string
	model, served   string // as requested, and as named by the upstream
	version         string
	upstream        string
	endpoint        string
	attempts        int
	fallback        string // the version that failed
	cache, notCache string // the cache's result, and its reason for a bypass
	limit           string // the limit that refused
	shadow          string // the limit in shadow mode that would have refused
	waited          time.Duration

	usage     *event.Usage // of the attempt that responded; nil if unknown
	firstByte time.Duration
	bytesIn   int64
	bytesOut  int64

	relayed string // outcome of the exchange; "" without one

	tls      bool
	panicked bool
	hedged   bool // a hedge was started
	hedgeWon bool // and responded first
}

// firstToken returns the time to the first token of a stream, 0 without one.
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

// protocolVersion returns the HTTP version as in the semantic conventions.
func (e *entry) protocolVersion() string {
	switch {
	case e.protocol > 1:
		return strconv.Itoa(e.protocol)
	case e.minor == 0:
		return "1.0"
	}
	return "1.1"
}

// close records the end of the request and returns the entry. Each of the package's
// middlewares calls it, the outermost last.
func (r *record) close(c *gin.Context, returned bool) entry {
	ctx := c.Request.Context()
	r.mu.Lock()
	defer r.mu.Unlock()
	e := &r.entry
	e.duration = max(time.Since(e.start), 1)
	e.status = c.Writer.Status()
	e.bytesOut = int64(max(c.Writer.Size(), 0))
	if e.caller == nil {
		e.caller = callerOf(ctx)
	}
	if last := c.Errors.Last(); last != nil {
		e.code, e.reason = plain.Clean(apierror.From(last.Err).Code, plain.Word), plain.Redact(last.Err)
	}
	// A handler that ends by a panic after a client disconnect did not fail.
	e.panicked = !returned && ctx.Err() == nil && (e.relayed == "" || e.relayed == outcomeFailure)
	if e.panicked && !c.Writer.Written() {
		e.status = http.StatusInternalServerError // the status that the recovery will send
	}
	e.outcome = e.judge(c)
	if e.code == "" && e.status >= http.StatusBadRequest {
		e.code = strconv.Itoa(e.status)
	}
	return *e
}

// judge returns the outcome: the proxy's for an exchange, else one by the status. A client
// that disconnects after an error or a whole response is not a canceled one.
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

// isWhole reports whether the whole response was written.
func isWhole(c *gin.Context) bool {
	if x := exchange.From(c.Request.Context()); x != nil {
		if served, ok := x.Served(); ok {
			return served.Finished
		}
	}
	length, err := strconv.ParseInt(c.Writer.Header().Get("Content-Length"), 10, 64)
	return err == nil && c.Writer.Size() == int(length) // gin counts in int, which wraps where it is short
}
