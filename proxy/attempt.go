package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"os"
	"time"

	"github.com/ginfer/ginfer/internal/body"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/llm"
	"github.com/ginfer/ginfer/internal/retryafter"
)

// attempt is one call of the transport. Layers below may have made others in its place:
// see [exchange.Attempt.Latest].
type attempt struct {
	*exchange.Attempt
	req *http.Request
}

// release ends what the attempt and those in its place still wait for.
func (t *attempt) release() { t.cancel(nil) }

// cancel ends what the attempt and those in its place wait for.
func (t *attempt) cancel(cause error) {
	t.Cancel(cause)
	t.Latest().Cancel(cause)
}

// share says what the layers below may ask of the exchange.
func (x *call) share() {
	x.x, x.c.Request = exchange.Of(x.c.Request)
	x.x.Managed = true
	if x.x.Caller == 0 {
		x.x.Caller = body.OfAddress(x.p.client(x.c.Request))
	}
	asks := x.held.Request()
	x.x.API, x.x.Dialect, x.x.Tools, x.x.Generates = asks.API, asks.Dialect, asks.Tools, asks.Generates()
	x.x.Credentials, x.x.Known = exchange.Credentials(x.c.Request), true
	x.x.Repeats = func(a *exchange.Attempt, v exchange.Verdict) bool { return x.repeats(a, v) }
	x.x.Spend = func() bool { return x.p.budget.spend(time.Now()) }
	if x.upload != nil {
		x.x.Upload = x.upload.failed
	}
	t := x.timeouts
	x.x.Limits = exchange.Limits{
		Connect: t.Connect, FirstByte: max(t.FirstByte, 0), FirstContent: max(t.FirstContent, 0), Idle: max(t.Idle, 0), Opening: t.opening, Stall: max(t.Stall, 0),
		Deadline: x.deadline, Hurried: x.hurried, Ample: x.ample,
		// Models are asked by requests with a body. The stream of any other may be silent for
		// long, and its client wait to see it open. So may that of a tool (MCP): what it
		// streams meanwhile may be comments alone.
		Prefetch: t.Hold >= 0 && x.held.Whole && x.held.Len() > 0 && !asks.RPC, Hold: t.Hold,
	}
	if x.p.cfg.OnEvent != nil {
		x.x.OnEnd(x.attempted)
	}
}

// run makes attempts until one is to be responded with.
func (x *call) run() (*http.Response, error) {
	x.p.budget.request(x.start)
	if x.p.hedges != nil {
		x.p.hedges.request(x.start)
	}
	x.class = x.p.class(x.c) // once: a gin.Context is not for the goroutine of a hedge
	if !x.hasTime(x.start) {
		return nil, refusal(http.StatusGatewayTimeout, "deadline_too_close", "An answer would not begin within the time that the request gives.", ErrDeadline)
	}
	for {
		t, res, err := x.make(x.begin())
		wait, again := x.again(t, res)
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

func (x *call) begin() *attempt {
	t := &x.first
	if t.Attempt != nil {
		t = new(attempt)
	}
	ctx := x.c.Request.Context()
	if x.early.w != nil {
		ctx = httptrace.WithClientTrace(ctx, &x.early.trace)
	}
	t.Attempt, t.req = x.x.Begin(x.out.WithContext(ctx))
	x.equip(t)
	x.attempt = t
	return t
}

// beginHedge makes an attempt beside the first one.
func (x *call) beginHedge() *attempt {
	t := new(attempt)
	t.Attempt, t.req = x.x.BeginHedge(x.out.WithContext(x.c.Request.Context()))
	x.equip(t)
	return t
}

// equip gives an attempt its body.
func (x *call) equip(t *attempt) {
	x.attempts.Add(1)
	if x.asked {
		x.tellDeadline(t.req, t.Began())
	}
	switch {
	case x.upload != nil:
		x.upload.progress = t.Uploading
		t.req.Body = x.upload
	case x.held.Len() > 0:
		body.Send(t.req, x.held)
		if len(t.req.Trailer) > 0 {
			t.req.ContentLength = -1 // trailers need chunks
		}
	}
}

// roundTrip makes the attempt and waits until its response has begun.
func (x *call) roundTrip(t *attempt) (*http.Response, error) {
	res, err := t.Do(t.req, x.p.cfg.Transport)
	last := t.Latest()
	if err != nil {
		last.Finish(err) // also when no layer did: nothing was sent
		return nil, err
	}
	if res.StatusCode < 101 || res.StatusCode > 999 {
		err = fmt.Errorf("invalid status code %d", res.StatusCode)
		last.Note(exchange.Verdict{Outcome: exchange.Failure, Blame: exchange.Endpoint, Repeatable: true, Err: err})
		_ = res.Body.Close()
		return nil, err
	}
	if x.upload == nil { // what was sent once is not sent again
		last.Prefetch()
	}
	if v := last.Verdict(); res.StatusCode < 400 && v.Outcome == exchange.Success {
		x.took(t, llm.IsStream(res.Header))
	}
	return res, nil
}

// isFailure reports whether an attempt went so that another one may take its place.
func (p *retryPolicy) isFailure(v exchange.Verdict, res *http.Response) bool {
	if !v.Repeatable || v.Elsewhere || exchange.IsRefused(v.Err) { // a layer that refused would do so again
		return false
	}
	if res != nil && res.StatusCode >= http.StatusBadRequest {
		return p.repeats(res.StatusCode)
	}
	return v.Outcome == exchange.Failure
}

// repeats is what layers below ask: whether the proxy would make another attempt at the
// same upstream.
func (x *call) repeats(a *exchange.Attempt, v exchange.Verdict) bool {
	var res *http.Response
	if status := a.Status(); status > 0 {
		res = &http.Response{StatusCode: status, Header: a.Header()}
	}
	_, again := x.follows(a, v, res)
	return again
}

// again decides whether an attempt that went so is repeated, and after what wait. It takes
// nothing from the budget.
func (x *call) again(t *attempt, res *http.Response) (time.Duration, bool) {
	last := t.Latest()
	return x.follows(last, last.Verdict(), res)
}

func (x *call) follows(a *exchange.Attempt, v exchange.Verdict, res *http.Response) (time.Duration, bool) {
	p := &x.p.retry
	n := int(x.attempts.Load())
	if x.x.Final() || x.upload != nil || n >= p.tries || x.clientGone() || x.outOfTime() || !p.isFailure(v, res) {
		return 0, false
	}
	if !v.Unsent && !p.repeat(x.c.Request) {
		return 0, false
	}
	return p.pause(n, a.Others(), v, res, time.Now())
}

// pause is the wait after the attempt of this number. It honours Retry-After unless the
// next one goes to another endpoint; a rate limit with neither goes to the client,
// who was told nothing that would help.
func (p *retryPolicy) pause(number, others int, v exchange.Verdict, res *http.Response, now time.Time) (time.Duration, bool) {
	wait := p.wait(number)
	if res == nil || others > 0 {
		return wait, true
	}
	after, told := retryafter.Parse(res.Header, now)
	if !told {
		return wait, v.Blame != exchange.Credential
	}
	return max(wait, after), after <= p.maxRetryAfter
}

func (x *call) outOfTime() bool {
	return !x.deadline.IsZero() && !time.Now().Before(x.deadline)
}

// decide turns the last attempt into what the client gets. A response goes to it as it is,
// when that says more than we can.
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

// hides reports whether a response is not for the client: it has nothing, or says what only
// the operator may know. What says more than we can goes to the client as it is.
func hides(v exchange.Verdict) bool {
	switch v.Err.(type) { //nolint:errorlint // the verdict's own
	case *exchange.StatusError, *exchange.GRPCError, *llm.Error:
		return v.Withheld
	}
	return v.Outcome == exchange.Canceled || v.Bad() && v.Repeatable
}

// explain says in the proxy's words why an attempt ended so.
func (x *call) explain(v exchange.Verdict, err error) error {
	limit, slow := errors.AsType[*exchange.TimeoutError](v.Err)
	switch {
	case errors.Is(v.Err, ErrBeaten):
		return ErrBeaten
	case v.Blame == exchange.Client && errors.Is(v.Err, ErrBody):
		return v.Err // the client may still be there
	case v.Blame == exchange.Client && x.upload != nil && errors.Is(x.upload.failed(), os.ErrDeadlineExceeded):
		return x.upload.failed()
	case x.clientGone():
		return clientError(x.c.Request.Context())
	case errors.Is(v.Err, ErrDeadline):
		return deadlineError()
	case slow:
		return timeoutError(limit.Limit)
	case v.Withheld:
		return credentialError(v.Err)
	}
	return upstreamError(err)
}

// giveUp closes a response that is not wanted.
func giveUp(res *http.Response) {
	if res != nil {
		_ = res.Body.Close()
	}
}

// ended is an attempt that was not reported yet.
type ended struct {
	attempt *exchange.Attempt
	event   Event
}

// attempted takes a finished attempt. It is reported when it is known what the client got
// of it.
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

// report reports the attempts that have ended, of which relayed, if any, is the one whose
// response went to the client.
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

// outcomeOf is a verdict in the proxy's words.
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

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
