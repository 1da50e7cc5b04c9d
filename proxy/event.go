package proxy

import (
	"net/http"
	"time"

	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/ginctx"
)

// Kind is the kind of an Event.
type Kind int

// The kinds of Event.
const (
	// AttemptEnded is the end of one attempt; another may follow.
	AttemptEnded Kind = iota
	// Finished is the end of the exchange.
	Finished
)

// Outcome is the result of an attempt or an exchange. Each is counted once.
type Outcome int

// The outcomes. A client disconnect and an attempt that lost to a faster one are neither
// success nor failure.
const (
	// Success means that the response was complete and is not a server error.
	Success Outcome = iota
	// Failure means no response, a broken one, or a status of 500 and above.
	Failure
	// Canceled means that the client disconnected, that its own deadline passed, or that
	// another attempt was faster ([ErrBeaten]).
	Canceled
	// Refused means that the gateway rejected the request, because it was invalid, there was no
	// room for it, or its body could not be read. It is never the outcome of an attempt.
	Refused
)

// String returns "success", "failure", "canceled" or "refused".
func (o Outcome) String() string {
	switch o {
	case Success:
		return "success"
	case Failure:
		return "failure"
	case Canceled:
		return "canceled"
	case Refused:
		return "refused"
	}
	return ""
}

// Event describes a finished attempt or exchange.
type Event struct {
	// Kind is AttemptEnded or Finished.
	Kind Kind
	// Attempt is the number of the attempt, from 1; in Finished the number of attempts.
	Attempt int
	// Hedge reports that the attempt was started beside a slow one; in Finished that the hedge
	// won.
	Hedge bool
	// Fallback reports that a layer below made the attempt after another one: at another
	// version, or without a change that was refused.
	Fallback bool
	// Endpoint is the endpoint of the (last) attempt; "" without a balancer.
	Endpoint string
	// Status is the upstream's status, or in Finished the client's; 0: there was none.
	Status int
	// Outcome is the result.
	Outcome Outcome
	// Err is the reason if Outcome is not Success.
	Err error
	// FirstByte is the time from the start of the attempt (in Finished: of the exchange) to the
	// head of the response, or to the first content of a model's stream; 0: there was none.
	FirstByte time.Duration
	// Duration is the time from start to end.
	Duration time.Duration
	// Bytes is the number of bytes of the response's body that were sent to the client.
	Bytes int64
}

// ended is an attempt that has ended and is not reported yet.
type ended struct {
	attempt *exchange.Attempt
	event   Event
}

// attempted records an ended attempt. It is reported once it is known how much of its response the
// client received.
func (x *call) attempted(a *exchange.Attempt, end *exchange.End) {
	e := Event{Kind: AttemptEnded, Attempt: a.Number(), Hedge: a.Hedge(), Fallback: a.Follows(), Endpoint: a.Endpoint(), Status: end.Status, Duration: end.Over.Sub(end.Start)}
	if !end.Head.IsZero() {
		e.FirstByte = end.Head.Sub(end.Start)
	}
	if end.Stream && !end.Content.IsZero() {
		e.FirstByte = end.Content.Sub(end.Start)
	}
	e.Outcome, e.Err = x.outcomeOf(end.Verdict, end.Status)
	x.mu.Lock()
	x.ended = append(x.ended, ended{a, e})
	x.mu.Unlock()
}

// report reports the attempts that have ended. Relayed is the one relayed to the client;
// nil: none.
func (x *call) report(relayed *exchange.Attempt) {
	x.mu.Lock()
	list := x.ended
	x.ended = nil
	x.mu.Unlock()
	for _, one := range list {
		if one.attempt == relayed {
			one.event.Bytes = x.bytes
		}
		x.notify(one.event)
	}
}

// outcomeOf converts a verdict into an Outcome and its error.
func (x *call) outcomeOf(v exchange.Verdict, status int) (Outcome, error) {
	switch {
	case v.Outcome == exchange.Success:
		return Success, nil
	case v.Outcome == exchange.Canceled:
		return Canceled, x.explain(v, v.Err)
	case status >= http.StatusInternalServerError:
		return Failure, statusError(status)
	}
	return Failure, x.explain(v, v.Err)
}

func (x *call) notify(e Event) {
	if x.p.cfg.OnEvent != nil {
		x.p.cfg.OnEvent(ginctx.Detach(x.c.Request.Context()), e)
	}
}
