package breaker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/llm"
)

var (
	// ErrTimeout: nothing was answered in time. Answered with 504.
	ErrTimeout = errors.New("breaker: no answer in time")
	// ErrFailed: the handler failed, and so did the fallback. Answered with 502.
	ErrFailed = errors.New("breaker: the handler failed")
)

// MiddlewareConfig describes a circuit around handlers. Every field has a default.
type MiddlewareConfig struct {
	// Key says to which circuit a request belongs. It must not follow what a client
	// writes without bound. Default: the route, as it was registered.
	Key func(*gin.Context) string
	// Timeout is how long the first byte of an answer may take. Then the request's
	// context ends; a stream that has begun may last. Default off.
	Timeout time.Duration
	// IsFailure says which statuses are failures. Default: 500 and above.
	IsFailure func(status int) bool
	// Fallback answers in place of handlers that failed before anything was sent, or
	// that may not run: with a static body, an old answer, another model. [Reason] tells
	// it why. Default: the failure itself, or 503, is the answer.
	Fallback gin.HandlerFunc
	// ErrorHandler answers when there is no fallback, or it wrote nothing. Default
	// [apierror.Abort].
	ErrorHandler func(*gin.Context, error)

	isOwn func(status int) bool // a failure by an IsFailure that was given
}

// Middleware returns a handler that lets requests through to those after it while
// their circuit allows it, and learns from how they end. It panics on a negative
// Timeout.
func (g *Group) Middleware(cfg MiddlewareConfig) gin.HandlerFunc {
	if cfg.Timeout < 0 {
		panic(fmt.Sprintf("breaker: MiddlewareConfig.Timeout: %v is negative", cfg.Timeout))
	}
	if cfg.Key == nil {
		cfg.Key = (*gin.Context).FullPath
	}
	if cfg.isOwn = cfg.IsFailure; cfg.isOwn == nil {
		cfg.isOwn = func(int) bool { return false }
		cfg.IsFailure = func(status int) bool { return status >= 500 }
	}
	if cfg.ErrorHandler == nil {
		cfg.ErrorHandler = apierror.Abort
	}
	return func(c *gin.Context) {
		q := &question{alone: true}
		if x := exchange.From(c.Request.Context()); x != nil {
			q.caller = x.Caller
		}
		p, err := g.circuit("route " + cfg.Key(c)).allow(q)
		if err != nil {
			cfg.refuse(c, err)
			return
		}
		(&passage{cfg: &cfg, c: c, permit: p, outer: c.Request}).run()
	}
}

type reasonKey struct{}

// Reason is why a fallback runs: an error that wraps [ErrOpen], [ErrFull],
// [ErrCoolingDown], [ErrTimeout] or [ErrFailed].
func Reason(ctx context.Context) error {
	err, _ := ctx.Value(reasonKey{}).(error)
	return err
}

// refuse answers in place of the handlers.
func (cfg *MiddlewareConfig) refuse(c *gin.Context, reason error) {
	c.Abort()
	if cfg.Fallback != nil {
		c.Request = c.Request.WithContext(context.WithValue(c.Request.Context(), reasonKey{}, reason))
		cfg.Fallback(c)
	}
	if !c.Writer.Written() {
		cfg.ErrorHandler(c, reason)
	}
}

// passage is one request on its way through the handlers.
type passage struct {
	cfg    *MiddlewareConfig
	c      *gin.Context
	permit *permit
	outer  *http.Request
	errors int // that were recorded before
	cancel context.CancelCauseFunc
	x      *exchange.Exchange
	before int // attempts that others made

	mu   sync.Mutex
	last *exchange.End // of an attempt that somebody waited for; nil: there was none
}

// follow has the attempts that the handlers make tell how they went.
func (x *passage) follow() {
	x.x, x.c.Request = exchange.Of(x.outer)
	x.before = x.x.Attempts()
	x.x.OnEvent(func(*exchange.Attempt, int64) { x.permit.firstByte(time.Now()) })
	x.x.OnEnd(func(_ *exchange.Attempt, e *exchange.End) {
		x.mu.Lock()
		defer x.mu.Unlock()
		if x.last == nil || e.Outcome != exchange.Canceled {
			x.last = e
		}
	})
}

// attempts reports whether the handlers made some.
func (x *passage) attempts() bool { return x.x.Attempts() > x.before }

// end is how the last of them ended; nil: they made none, or it has not.
func (x *passage) end() *exchange.End {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.last
}

// api is what is called, as far as the path shows it.
func (x *passage) api() llm.API { return llm.Of(x.outer.Method, x.outer.URL.Path) }

func (x *passage) run() {
	inner := x.c.Writer
	w := &guard{ResponseWriter: inner, passage: x}
	if x.cfg.Fallback != nil || x.cfg.Timeout > 0 {
		w.before = inner.Header().Clone()
	}
	x.c.Writer, x.errors = w, len(x.c.Errors)
	x.follow()
	if x.cfg.Timeout > 0 {
		ctx, cancel := context.WithCancelCause(x.c.Request.Context())
		x.cancel = cancel
		x.c.Request = x.c.Request.WithContext(ctx)
		w.timer = time.AfterFunc(x.cfg.Timeout, func() { cancel(errors.Join(ErrTimeout, exchange.ErrTimeout)) })
	}
	panicked := true
	defer func() {
		if panicked { // whoever recovers sees the writer as it is
			x.permit.end(x.outcome(w, true), exchange.Counted)
			w.stop()
		}
	}()
	x.c.Next()
	panicked = false
	timedOut := errors.Is(context.Cause(x.c.Request.Context()), ErrTimeout)
	silent := timedOut && !w.decided // and its status means nothing
	w.decide()                       // also when nothing was written
	x.permit.end(x.outcome(w, silent), exchange.Counted)
	if x.c.Writer == w { // else another one must stay: see stream.Streams
		x.c.Writer = inner
	}
	if x.cancel != nil {
		x.cancel(nil)
		x.c.Request = x.outer
	}
	if (w.held || silent) && x.outer.Context().Err() == nil {
		w.restore()
		x.cfg.refuse(x.c, failureReason(timedOut))
	}
}

// outcome is how it ended.
func (x *passage) outcome(w *guard, failed bool) outcome {
	recorded := x.c.Errors[min(x.errors, len(x.c.Errors)):]
	for _, err := range recorded {
		if errors.Is(err.Err, exchange.ErrDeadline) { // the client's own: whatever the status
			return neutral
		}
	}
	silent := len(recorded) == 0 // else they say what it was, and whose fault
	if e := x.end(); e != nil && !e.Good() && !failed && !x.cfg.isOwn(e.Status) {
		return outcomeOf(e)
	}
	stream := ofStream(w.stream)
	switch {
	case silent && stream == failure: // clients often leave then
		return failure
	case x.outer.Context().Err() != nil:
		return neutral
	case failed, x.cfg.IsFailure(w.status()):
		return failure
	case silent && stream == neutral:
		return neutral
	case silent && w.stream != nil && w.stream.Cut():
		return failure
	}
	for _, err := range recorded { // within a stream the status is old
		if x.cfg.IsFailure(apierror.From(err.Err).Status) {
			return failure
		}
	}
	return success
}

func failureReason(timedOut bool) error {
	if timedOut {
		return &apierror.Error{Status: http.StatusGatewayTimeout, Code: "timeout", Message: "The service did not answer in time.", Err: ErrTimeout}
	}
	return &apierror.Error{Status: http.StatusBadGateway, Code: "upstream_failed", Message: "The service failed.", Err: ErrFailed}
}

// ofStream is what a stream says of itself that the handlers wrote: an error of a kind
// that is not known is nobody's failure.
func ofStream(s *llm.Scanner) outcome {
	if s == nil || s.Failure() == nil {
		return success
	}
	if kind := s.Failure().Kind; kind == llm.Overloaded || kind == llm.ServerFault {
		return failure
	}
	return neutral
}
