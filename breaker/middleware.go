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
	"github.com/ginfer/ginfer/internal/fault"
	"github.com/ginfer/ginfer/internal/ginctx"
	"github.com/ginfer/ginfer/internal/llm"
	"github.com/ginfer/ginfer/internal/reach"
)

var (
	// ErrTimeout is returned when there was no response in time. The response is 504.
	ErrTimeout = errors.New("breaker: no response in time")
	// ErrFailed is returned when the handler failed, and so did the fallback. The response is 502.
	ErrFailed = errors.New("breaker: the handler failed")
)

// MiddlewareConfig configures a circuit around handlers. Every field has a default.
type MiddlewareConfig struct {
	// Key returns the key of a request's circuit. It must not depend on unbounded client input.
	// Default: nil, the route as it was registered.
	Key func(*gin.Context) string
	// Timeout bounds the time to the first byte of a response. Then the request's context ends;
	// a stream that has begun may last. Default: 0, off.
	Timeout time.Duration
	// IsFailure reports whether a status is a failure. Default: nil, 500 and above.
	IsFailure func(status int) bool
	// Fallback responds instead of handlers that failed before anything was sent, or that were
	// not called: with a static body, a stale response or another model. [Reason] returns the
	// cause. Default: nil, the failure itself or 503 is the response.
	Fallback gin.HandlerFunc
	// ErrorHandler responds if there is no fallback, or if it wrote nothing. Default:
	// [apierror.Abort].
	ErrorHandler func(*gin.Context, error)

	isOwn func(status int) bool // a failure by the configured IsFailure
}

// Middleware returns a handler that calls the next ones while their circuit admits the request,
// and records how they end. It panics on a negative Timeout.
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
		q := &admission{alone: true}
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

// Reason returns the error for which a fallback runs. It wraps [ErrOpen], [ErrFull],
// [ErrCoolingDown], [ErrTimeout] or [ErrFailed].
func Reason(ctx context.Context) error {
	err, _ := ginctx.Value(ctx, reasonKey{}).(error)
	return err
}

// refuse responds instead of the handlers.
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
	errors int // number recorded before
	cancel context.CancelCauseFunc
	x      *exchange.Exchange
	before int // number of attempts made before

	mu   sync.Mutex
	last *exchange.End // of the last attempt that was not canceled; nil: there was none
}

// follow observes the attempts that the handlers make.
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

// attempts reports whether the handlers made attempts.
func (x *passage) attempts() bool { return x.x.Attempts() > x.before }

// end returns the End of their last attempt; nil: they made none, or it has not ended.
func (x *passage) end() *exchange.End {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.last
}

// api returns the API that the path calls.
func (x *passage) api() llm.API { return llm.Of(x.outer.Method, x.outer.URL.Path) }

func (x *passage) run() {
	inner := x.c.Writer
	w := &guard{ResponseWriter: inner, passage: x}
	if x.cfg.Fallback != nil || x.cfg.Timeout > 0 {
		w.before = inner.Header().Clone()
	}
	x.c.Writer, x.errors = w, len(x.c.Errors)
	x.follow()
	if x.cfg.Fallback != nil {
		x.c.Request = x.c.Request.WithContext(reach.Keep(x.c.Request.Context(), w))
	}
	if x.cfg.Timeout > 0 {
		ctx, cancel := context.WithCancelCause(x.c.Request.Context())
		x.cancel = cancel
		x.c.Request = x.c.Request.WithContext(ctx)
		w.timer = time.AfterFunc(x.cfg.Timeout, func() { cancel(fault.Join(ErrTimeout, exchange.ErrTimeout)) })
	}
	panicked := true
	defer func() {
		if panicked { // a recovery handler sees the writer as it is
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
	replaced := w.held || silent
	if x.c.Writer == w || replaced { // else another writer must stay: see stream.Streams
		x.c.Writer = inner
	}
	if x.cancel != nil {
		x.cancel(nil)
		x.c.Request = x.outer
	}
	if replaced && x.outer.Context().Err() == nil {
		w.restore()
		x.cfg.refuse(x.c, failureReason(timedOut))
	}
}

// outcome returns the result of the handlers.
func (x *passage) outcome(w *guard, failed bool) outcome {
	recorded := x.c.Errors[min(x.errors, len(x.c.Errors)):]
	for _, err := range recorded {
		if errors.Is(err.Err, exchange.ErrDeadline) { // the client's own: whatever the status
			return neutral
		}
	}
	silent := len(recorded) == 0 // else they describe the fault
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
	for _, err := range recorded { // within a stream the status is outdated
		if x.cfg.IsFailure(apierror.From(err.Err).Status) {
			return failure
		}
	}
	return success
}

func failureReason(timedOut bool) error {
	if timedOut {
		return &apierror.Error{Status: http.StatusGatewayTimeout, Code: "timeout", Message: "The service did not respond in time.", Err: ErrTimeout}
	}
	return &apierror.Error{Status: http.StatusBadGateway, Code: "upstream_failed", Message: "The service failed.", Err: ErrFailed}
}

// ofStream returns the result of a stream that the handlers wrote. An error of unknown kind is
// neutral.
func ofStream(s *llm.Scanner) outcome {
	if s == nil || s.Failure() == nil {
		return success
	}
	if kind := s.Failure().Kind; kind == llm.Overloaded || kind == llm.ServerFault {
		return failure
	}
	return neutral
}
