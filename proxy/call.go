package proxy

import (
	"context"
	"errors"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/internal/body"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/urlpath"
)

// call is one client request on its way through the proxy.
type call struct {
	p        *Proxy
	c        *gin.Context
	start    time.Time
	timeouts *limits

	x       *exchange.Exchange
	out     *http.Request // what every attempt sends
	held    *body.Held
	upload  *upload // when not whole
	upgrade string  // protocol asked for
	early   early   // relays 1xx

	deadline time.Time // when it must have ended; zero: at any time
	asked    bool      // the client said how long it waits
	hurried  bool      // and deadline is what it said
	ample    bool      // and that is no less than what the gateway would give
	class    string    // of requests that take alike to begin
	race     *race     // nil: no attempt was begun beside another

	first     attempt
	attempt   *attempt // the latest, or the one that won
	attempts  atomic.Int32
	mu        sync.Mutex
	ended     []ended // attempts that are to be reported
	head      lateHead
	committed bool
	firstByte time.Duration
	bytes     int64
	outcome   Outcome
	err       error
}

// refuse names the requests that are not relayed at all.
func (p *Proxy) refuse(r *http.Request) error {
	switch {
	case r.Method == http.MethodConnect || r.Method == http.MethodTrace:
		return refusal(http.StatusMethodNotAllowed, "method_not_allowed", "The method "+r.Method+" is not supported.", nil)
	case seenBefore(r.Header, p.cfg.Via):
		return refusal(http.StatusLoopDetected, "loop_detected", "The request has passed this gateway before.", ErrLoop)
	case asksUpgrade(r.Header) && r.ProtoMajor != 1:
		return refusal(http.StatusNotImplemented, "upgrade_not_supported", "A protocol upgrade needs HTTP/1.1.", ErrUpgrade)
	case asksUpgrade(r.Header) && r.ContentLength != 0: // where would the body end, and the other protocol begin?
		return refusal(http.StatusNotImplemented, "upgrade_not_supported", "A protocol upgrade can't have a body.", ErrUpgrade)
	}
	part := exchange.Fault(r)
	if part != "" && (part != "host" || p.cfg.Target == nil) { // with a target, the client's is not sent
		return refusal(http.StatusBadRequest, "bad_request", "The request's "+part+" is not valid.", nil)
	}
	return urlpath.Check(r.URL)
}

// prepare reads the body, if it is short enough, and builds what every try
// sends.
func (x *call) prepare() error {
	r := x.c.Request
	x.upgrade = upgradeType(r)
	if err := x.bound(); err != nil {
		return err
	}
	held, err := body.HoldFor(x.c, x.p.cfg.MaxBody)
	if err != nil {
		// A passed read deadline ends the context as well; that client is still there.
		if r.Context().Err() != nil && !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, body.ErrBudget) {
			return clientError(r.Context())
		}
		return errors.Join(ErrBody, err)
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

// clientGone reports that nobody waits for the answer any more.
func (x *call) clientGone() bool { return x.c.Request.Context().Err() != nil }

// fail answers with err, if anybody is there to hear it.
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

// giveUpConnection has the server close an HTTP/1 connection of which an
// upload was not read to its end: what follows it is no request.
func (x *call) giveUpConnection() {
	if x.upload != nil && !x.upload.ended.Load() && x.c.Request.ProtoMajor == 1 {
		x.c.Writer.Header().Set("Connection", "close")
	}
}

// settle records how the exchange ended. Faults of the client and of the
// request itself are no failure of an upstream.
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

// end frees what the exchange holds and tells of it. It runs also when a
// handler panics.
func (x *call) end() {
	x.early.stop()
	x.giveUpConnection() // before whoever recovers from a panic answers
	if x.upload != nil {
		x.upload.stop()
	}
	if x.held != nil {
		defer x.held.Release() // when all that was made of it is over
	}
	if x.attempt != nil {
		x.attempt.release()
	}
	if x.race != nil {
		x.race.stop()
	}
	if x.race != nil && x.race.panic != nil {
		defer panic(x.race.panic) // now that all is over, for who recovers from those of handlers
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

func (x *call) notify(e Event) {
	if x.p.cfg.OnEvent != nil {
		x.p.cfg.OnEvent(context.WithoutCancel(x.c.Request.Context()), e)
	}
}
