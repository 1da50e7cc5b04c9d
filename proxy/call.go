package proxy

import (
	"errors"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/internal/body"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/fault"
	"github.com/ginfer/ginfer/internal/upgrade"
	"github.com/ginfer/ginfer/internal/urlpath"
)

// call is one client request on its way through the proxy.
type call struct {
	p        *Proxy
	c        *gin.Context
	start    time.Time
	timeouts *limits

	x        *exchange.Exchange
	out      *http.Request // sent by every attempt
	held     *body.Held
	upload   *upload // nil if the body is whole
	upgrades bool    // the client wants to switch to WebSocket
	early    early   // relays 1xx

	deadline deadline
	class    string // latency class
	race     *race  // nil: no hedge was started

	first     attempt
	attempt   *attempt // the latest, or the one that won
	attempts  atomic.Int32
	mu        sync.Mutex
	ended     []ended // attempts to be reported
	head      lateHead
	committed bool
	firstByte time.Duration
	bytes     int64
	outcome   Outcome
	err       error
}

// refuse returns the error of a request that is never relayed.
func (p *Proxy) refuse(r *http.Request) error {
	switch {
	case r.Method == http.MethodConnect || r.Method == http.MethodTrace:
		return refusal(http.StatusMethodNotAllowed, "method_not_allowed", "The method "+r.Method+" is not supported.", nil)
	case seenBefore(r.Header, p.cfg.Via):
		return refusal(http.StatusLoopDetected, "loop_detected", "The request has passed this gateway before.", ErrLoop)
	case upgrade.Requested(r) && r.ProtoMajor != 1:
		return refusal(http.StatusNotImplemented, "upgrade_not_supported", "A protocol upgrade needs HTTP/1.1.", ErrUpgrade)
	case upgrade.Requested(r) && r.ContentLength != 0: // else the body's end and the other protocol's begin are ambiguous
		return refusal(http.StatusNotImplemented, "upgrade_not_supported", "A protocol upgrade can't have a body.", ErrUpgrade)
	}
	part := exchange.Fault(r)
	if part != "" && (part != "host" || p.cfg.Target == nil) { // with a target, the client's host is not sent
		return refusal(http.StatusBadRequest, "bad_request", "The request's "+part+" is not valid.", nil)
	}
	return urlpath.CheckRelay(r.URL)
}

// prepare reads the body if it is short enough, and builds the request that every attempt sends.
func (x *call) prepare() error {
	r := x.c.Request
	x.upgrades = upgrade.Requested(r)
	if err := x.deadline.set(r, x.start, x.timeouts); err != nil {
		return err
	}
	held, err := body.HoldFor(x.c, x.p.cfg.MaxBody)
	if err != nil {
		// A passed read deadline ends the context as well, but that client is still there.
		if r.Context().Err() != nil && !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, body.ErrBudget) {
			return clientError(r.Context())
		}
		return fault.Join(ErrBody, err)
	}
	x.held = held
	if !held.Whole {
		x.upload = newUpload(x.c, held, x.p.cfg.MaxBody < 0 || held.Flows(), x.timeouts.Idle)
	}
	x.share()
	x.out = x.outbound()
	if x.p.cfg.Rewrite != nil {
		x.p.cfg.Rewrite(x.c, x.out)
	}
	return nil
}

// share sets the exchange's fields for the layers below.
func (x *call) share() {
	x.x, x.c.Request = exchange.Of(x.c.Request)
	x.x.Managed = true
	if x.x.Caller == 0 {
		x.x.Caller = body.OfAddress(x.p.client(x.c.Request))
	}
	parsed := x.held.Request()
	x.x.API, x.x.Dialect, x.x.Tools, x.x.Generates = parsed.API, parsed.Dialect, parsed.Tools, parsed.Generates()
	x.x.Credentials, x.x.Known = exchange.Credentials(x.c.Request), true
	x.x.Repeats = func(a *exchange.Attempt, v exchange.Verdict) bool { return x.repeats(a, v) }
	x.x.Spend = func() bool { return x.p.budget.spend(time.Now()) }
	if x.upload != nil {
		x.x.Upload = x.upload.failed
	}
	t := x.timeouts
	x.x.Limits = exchange.Limits{
		Connect: t.Connect, FirstByte: max(t.FirstByte, 0), FirstContent: max(t.FirstContent, 0), Idle: max(t.Idle, 0), Opening: t.opening, Stall: max(t.Stall, 0),
		Deadline: x.deadline.at, Hurried: x.deadline.hurried, Ample: x.deadline.ample,
		// Only a request with a body calls a model. Any other stream may be silent for long
		// while its client waits to see it open. So may that of a tool (MCP), which may send
		// only comments.
		Prefetch: t.Hold >= 0 && x.held.Whole && x.held.Len() > 0 && !parsed.RPC, Hold: t.Hold,
	}
	if x.p.cfg.OnEvent != nil {
		x.x.OnEnd(x.attempted)
	}
}

// run makes attempts until one has the final response.
func (x *call) run() (*http.Response, error) {
	x.p.budget.request(x.start)
	if x.p.hedges != nil {
		x.p.hedges.request()
	}
	x.class = x.p.class(x.c) // once: a hedge's goroutine must not use gin.Context
	if !x.hasTime(x.start) {
		return nil, refusal(http.StatusGatewayTimeout, "deadline_too_close", "The response could not begin within the time that the request allows.", ErrDeadline)
	}
	for {
		t, res, err := x.make(x.begin())
		wait, again := x.retry(t, res)
		if !again || !x.hasTime(time.Now().Add(wait)) || !x.x.Spend() {
			return x.decide(t, res, err)
		}
		giveUp(res)
		x.report(nil)
		if err := sleep(x.c.Request.Context(), wait); err != nil {
			return nil, clientError(x.c.Request.Context())
		}
	}
}

// decide returns the result for the client. A response that says more than the proxy could is
// passed as it is.
func (x *call) decide(t *attempt, res *http.Response, err error) (*http.Response, error) {
	last := t.Latest()
	v := last.Verdict()
	if err == nil && !hides(v) {
		x.firstByte = time.Since(x.start)
		return res, nil
	}
	giveUp(res)
	if err == nil {
		err = v.Err
	}
	return nil, x.explain(v, err)
}

// clientGone reports whether the client's context has ended.
func (x *call) clientGone() bool { return x.c.Request.Context().Err() != nil }

// fail responds with err, unless the client has left.
func (x *call) fail(err error) {
	x.settle(err)
	x.early.stop()
	x.giveUpConnection()
	if errors.Is(err, ErrClientClosed) {
		_ = x.c.Error(err)
		x.c.AbortWithStatus(499)
		return
	}
	x.p.cfg.ErrorHandler(x.c, err)
}

// giveUpConnection makes the server close an HTTP/1 connection with an upload not read to its
// end: what follows is no request.
func (x *call) giveUpConnection() {
	if x.upload != nil && !x.upload.ended.Load() && x.c.Request.ProtoMajor == 1 {
		x.c.Writer.Header().Set("Connection", "close")
	}
}

// settle records the outcome of the exchange. Faults of the client and of the request are no
// failure.
func (x *call) settle(err error) {
	x.err = err
	switch {
	case errors.Is(err, ErrClientClosed), errors.Is(err, ErrDeadline), x.committed && errors.Is(err, ErrBody):
		x.outcome = Canceled
	case x.attempt == nil, errors.Is(err, ErrBody):
		x.outcome = Refused
	default:
		x.outcome = Failure
	}
}

// end frees the resources of the exchange and reports it. It also runs when a handler panics.
func (x *call) end() {
	x.early.stop()
	x.giveUpConnection() // before a recovering handler responds
	if x.upload != nil {
		x.upload.stop()
	}
	if x.held != nil {
		defer x.held.Release() // after everything made from it has ended
	}
	if x.attempt != nil {
		x.attempt.release()
	}
	if x.race != nil {
		x.race.stop()
	}
	if x.race != nil && x.race.panic != nil {
		defer panic(x.race.panic) // last: an outer handler recovers it on this goroutine
	}
	if x.p.cfg.OnEvent == nil {
		return
	}
	if x.attempt != nil {
		x.report(x.attempt.Latest())
	}
	e := Event{Kind: Finished, Status: x.c.Writer.Status(), Outcome: x.outcome, Err: x.err, FirstByte: x.firstByte, Duration: time.Since(x.start), Bytes: x.bytes}
	if x.attempt != nil {
		last := x.attempt.Latest()
		e.Attempt, e.Endpoint, e.Hedge = int(x.attempts.Load()), last.Endpoint(), last.Hedge()
	}
	x.notify(e)
}
