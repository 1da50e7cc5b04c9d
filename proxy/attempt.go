package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
	"time"

	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/attempt"
	"github.com/ginfer/ginfer/internal/hold"
	"github.com/ginfer/ginfer/internal/peek"
	"github.com/ginfer/ginfer/internal/retryafter"
	"github.com/ginfer/ginfer/internal/sse"
)

// smallBody is how much of an unwanted answer is read so that its connection
// can be used again.
const smallBody = 4 << 10

// try is one call of the transport.
type try struct {
	attempt.Try
	req    *http.Request
	cancel context.CancelCauseFunc
	dog    watchdog
	start  time.Time
	head   time.Duration // from start to where the answer began

	firstByte time.Duration // how long it may take to begin
	idle      time.Duration // how long it may pause while it is held back
}

// release frees the try's timer and context. It may be called twice.
func (t *try) release() {
	t.dog.stop()
	t.cancel(nil)
}

// Alive implements attempt.Owner.
func (t *try) Alive() { t.dog.arm(limitIdle, time.Now(), t.idle) }

// Cancel implements attempt.Owner.
func (t *try) Cancel(cause error) { t.cancel(cause) }

// Anew implements attempt.Owner. The total limit always holds.
func (t *try) Anew(limited bool) {
	t.dog.disarm()
	if limited {
		t.dog.arm(limitFirstByte, time.Now(), t.firstByte)
		return
	}
	t.dog.arm(limitTotal, time.Now(), 0)
}

// attempts makes tries until one is to be answered with.
func (x *exchange) attempts() (*http.Response, error) {
	x.p.budget.request(x.start)
	if x.p.hedges != nil {
		x.p.hedges.request(x.start)
	}
	x.share()
	x.class = x.p.class(x.c) // once: a gin.Context is not for the goroutine of a hedge
	if !x.hasTime(x.start) {
		return nil, refusal(http.StatusGatewayTimeout, "deadline_too_close", "An answer would not begin within the time that the request gives.", ErrDeadline)
	}
	for n := 1; ; n = int(x.tries.Load()) + 1 {
		t, res, err := x.makeTry(x.begin(n))
		wait, again := x.again(&t.Try, res, err)
		if !again || !x.hasTime(time.Now().Add(wait)) || !x.shared.Spend() {
			return x.decide(t, res, err)
		}
		x.giveUp(t, res, err)
		if err := sleep(x.c.Request.Context(), wait); err != nil {
			return nil, clientError(x.c.Request.Context())
		}
	}
}

// share says what the layers below may ask of the exchange.
func (x *exchange) share() {
	x.shared.Repeats = func(t *attempt.Try, res *http.Response, err error) bool {
		_, again := x.again(t, res, err)
		return again
	}
	x.shared.Spend = func() bool { return x.p.budget.spend(time.Now()) }
	x.shared.Connect, x.shared.FirstByte = x.timeouts.Connect, max(x.timeouts.FirstByte, 0)
	// Models are asked by requests with a body. The stream of any other may be silent
	// for long, and its client wait to see it open.
	x.shared.Held, x.shared.Hold = x.timeouts.Hold >= 0 && len(x.body) > 0 && !isRemoteCall(x.body), x.timeouts.Hold
}

// isRemoteCall reports whether a body is of JSON-RPC, one call or several. So tools are
// called (MCP): what they stream meanwhile may be comments alone.
func isRemoteCall(body []byte) bool {
	const name = "jsonrpc"
	if !bytes.Contains(body, []byte(`"`+name+`"`)) {
		return false
	}
	_, _, err := peek.Member(body, name)
	return err == nil || bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("["))
}

func (x *exchange) begin(n int) *try {
	t := &x.first
	if n > 1 {
		t = &try{start: time.Now()}
	}
	x.shared.Begin(&t.Try, n)
	x.equip(t, x.early.w != nil)
	x.try = t
	return t
}

// beginHedge makes a try beside the first one.
func (x *exchange) beginHedge() *try {
	t := &try{start: time.Now()}
	x.shared.BeginHedge(&t.Try, int(x.tries.Load())+1)
	x.equip(t, false)
	return t
}

// equip gives a try its request and its limits.
func (x *exchange) equip(t *try, early bool) {
	x.tries.Add(1)
	ctx, cancel := context.WithCancelCause(x.c.Request.Context())
	t.cancel, t.dog.cancel, t.dog.total, t.dog.hurried = cancel, cancel, x.deadline, x.hurried
	t.firstByte, t.idle = x.timeouts.FirstByte, x.timeouts.Idle
	t.Own(t)
	ctx = attempt.With(ctx, &t.Try)
	if early {
		ctx = httptrace.WithClientTrace(ctx, &x.early.trace)
	}
	t.req = x.out.WithContext(ctx)
	if x.asked {
		x.tellDeadline(t.req, t.start)
	}
	switch {
	case x.upload != nil:
		t.req.Body = x.upload
	case len(x.body) > 0:
		peek.SetBytes(t.req, x.body)
		if len(t.req.Trailer) > 0 {
			t.req.ContentLength = -1 // trailers need chunks
		}
	}
}

// roundTrip makes the call and waits until the answer has begun well.
func (x *exchange) roundTrip(t *try) (*http.Response, error) {
	t.dog.arm(limitFirstByte, t.start, t.firstByte)
	defer t.dog.disarm()
	res, err := x.p.cfg.Transport.RoundTrip(t.req)
	if err != nil {
		return nil, err
	}
	if res.Body == nil {
		res.Body = http.NoBody
	}
	if res.StatusCode < 101 || res.StatusCode > 999 {
		_ = res.Body.Close()
		return nil, errors.New("invalid status code")
	}
	if res, err = hold.Answer(t.req, res); err != nil {
		return nil, err
	}
	t.head = time.Since(t.start)
	if res.StatusCode < 400 {
		x.took(t, sse.Is(res.Header.Get("Content-Type")))
	}
	return res, nil
}

// again decides whether a try that ended so is repeated, and after what wait.
// It takes nothing from the budget.
func (x *exchange) again(t *attempt.Try, res *http.Response, err error) (time.Duration, bool) {
	p := &x.p.retry
	if err == nil && !p.isFailure(res.StatusCode) || t.Last() || x.upload != nil || x.clientGone() || x.outOfTime() {
		return 0, false
	}
	if t.Number() >= p.tries {
		return 0, false
	}
	if _, own := errors.AsType[*apierror.Error](err); own && !errors.Is(err, ErrTimeout) { // said by a part of the gateway: asking again changes nothing
		return 0, false
	}
	if !isDial(err) && !p.repeat(x.c.Request) {
		return 0, false
	}
	return p.pause(t, res, time.Now())
}

// pause is the wait before the next try. It honours Retry-After unless the
// next try goes to another endpoint; a 429 with neither goes to the client,
// who was told nothing that would help.
func (p *retryPolicy) pause(t *attempt.Try, res *http.Response, now time.Time) (time.Duration, bool) {
	wait := p.wait(t.Number())
	if res == nil || t.Others() > 0 {
		return wait, true
	}
	after, told := retryafter.Parse(res.Header, now)
	if !told {
		return wait, res.StatusCode != http.StatusTooManyRequests
	}
	return max(wait, after), after <= p.maxRetryAfter
}

func (x *exchange) outOfTime() bool {
	return !x.deadline.IsZero() && !time.Now().Before(x.deadline)
}

// decide turns the last try into what the client gets.
func (x *exchange) decide(t *try, res *http.Response, err error) (*http.Response, error) {
	if err == nil {
		x.firstByte = t.start.Add(t.head).Sub(x.start)
		return res, nil
	}
	err = x.explain(t, err)
	x.tried(t, nil, err, 0)
	return nil, err
}

// explain finds out whose fault an error was.
func (x *exchange) explain(t *try, err error) error {
	cause := context.Cause(t.req.Context())
	if errors.Is(err, ErrBeaten) || errors.Is(cause, ErrBeaten) {
		return ErrBeaten
	}
	if x.upload != nil && errors.Is(x.upload.failed(), os.ErrDeadlineExceeded) {
		return x.upload.failed() // it ended the context as well; the client is still there
	}
	if x.clientGone() {
		return clientError(x.c.Request.Context())
	}
	if x.upload != nil && x.upload.failed() != nil {
		return x.upload.failed()
	}
	if errors.Is(cause, ErrTimeout) || errors.Is(cause, ErrDeadline) {
		return cause
	}
	return upstreamError(err)
}

// giveUp ends a try that will be repeated.
func (x *exchange) giveUp(t *try, res *http.Response, err error) {
	if res != nil {
		if res.ContentLength >= 0 && res.ContentLength <= smallBody {
			t.dog.arm(limitIdle, time.Now(), time.Second)
			_, _ = io.CopyN(io.Discard, res.Body, smallBody)
		}
		_ = res.Body.Close()
	} else {
		err = x.explain(t, err)
	}
	x.tried(t, res, err, 0)
	t.release()
}

// tried tells of a finished try, of whose answer so many bytes went to the client.
func (x *exchange) tried(t *try, res *http.Response, err error, bytes int64) {
	if x.p.cfg.OnEvent == nil {
		return
	}
	e := Event{Kind: Tried, Try: t.Number(), Hedge: t.Hedge(), Endpoint: t.Endpoint(), Err: err, Duration: time.Since(t.start), Bytes: bytes}
	if res != nil {
		e.Status, e.FirstByte = res.StatusCode, t.head
	}
	switch {
	case errors.Is(err, ErrClientClosed), errors.Is(err, ErrBody), errors.Is(err, ErrBeaten), errors.Is(err, ErrDeadline):
		e.Outcome = Canceled
	case err != nil:
		e.Outcome = Failure
	case e.Status >= 500:
		e.Outcome, e.Err = Failure, statusError(e.Status)
	}
	x.notify(e)
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
