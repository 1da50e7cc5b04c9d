package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
	"time"

	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/attempt"
	"github.com/ginfer/ginfer/internal/peek"
	"github.com/ginfer/ginfer/internal/retryafter"
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
	head   time.Duration // from start to the answer's head
}

// release frees the try's timer and context. It may be called twice.
func (t *try) release() {
	t.dog.stop()
	t.cancel(nil)
}

// attempts makes tries until one is to be answered with.
func (x *exchange) attempts() (*http.Response, error) {
	x.p.budget.request(x.start)
	x.shared.Repeats = func(t *attempt.Try, res *http.Response, err error) bool {
		_, again := x.again(t, res, err)
		return again
	}
	x.shared.Spend = func() bool { return x.p.budget.spend(time.Now()) }
	x.shared.Connect = x.timeouts.Connect
	for n := 1; ; n++ {
		t := x.begin(n)
		res, err := x.roundTrip(t)
		wait, again := x.again(&t.Try, res, err)
		if !again || !x.shared.Spend() {
			return x.decide(t, res, err)
		}
		x.giveUp(t, res, err)
		if err := sleep(x.c.Request.Context(), wait); err != nil {
			return nil, clientError(x.c.Request.Context())
		}
	}
}

func (x *exchange) begin(n int) *try {
	ctx, cancel := context.WithCancelCause(x.c.Request.Context())
	t := &x.first
	if n > 1 {
		t = &try{start: time.Now()}
	}
	t.cancel, t.dog.cancel = cancel, cancel
	if x.timeouts.Total > 0 {
		t.dog.total = x.start.Add(x.timeouts.Total)
	}
	x.shared.Begin(&t.Try, n)
	ctx = attempt.With(ctx, &t.Try)
	if x.early.w != nil {
		ctx = httptrace.WithClientTrace(ctx, &x.early.trace)
	}
	t.req = x.out.WithContext(ctx)
	switch {
	case x.upload != nil:
		t.req.Body = x.upload
	case len(x.body) > 0:
		peek.SetBytes(t.req, x.body)
		if len(t.req.Trailer) > 0 {
			t.req.ContentLength = -1 // trailers need chunks
		}
	}
	x.try = t
	return t
}

func (x *exchange) roundTrip(t *try) (*http.Response, error) {
	t.dog.arm(limitFirstByte, t.start, x.timeouts.FirstByte)
	res, err := x.p.cfg.Transport.RoundTrip(t.req)
	t.dog.disarm()
	if err != nil {
		return nil, err
	}
	t.head = time.Since(t.start)
	if res.Body == nil {
		res.Body = http.NoBody
	}
	if res.StatusCode < 101 || res.StatusCode > 999 {
		_ = res.Body.Close()
		return nil, errors.New("invalid status code")
	}
	return res, nil
}

// again decides whether a try that ended so is repeated, and after what wait.
// It takes nothing from the budget.
func (x *exchange) again(t *attempt.Try, res *http.Response, err error) (time.Duration, bool) {
	p := &x.p.retry
	if err == nil && !p.isFailure(res.StatusCode) {
		return 0, false
	}
	if t.Number() >= p.tries || t.Last() || x.upload != nil || x.clientGone() || x.outOfTime() {
		return 0, false
	}
	if _, refused := errors.AsType[*attempt.NotSentError](err); refused {
		return 0, t.Others() > 0
	}
	if _, own := errors.AsType[*apierror.Error](err); own { // said by a part of the gateway: asking again changes nothing
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
	return x.timeouts.Total > 0 && time.Since(x.start) >= x.timeouts.Total
}

// decide turns the last try into what the client gets.
func (x *exchange) decide(t *try, res *http.Response, err error) (*http.Response, error) {
	if err == nil {
		x.firstByte = t.start.Add(t.head).Sub(x.start)
		return res, nil
	}
	err = x.explain(t, err)
	x.tried(t, nil, err)
	return nil, err
}

// explain finds out whose fault an error was.
func (x *exchange) explain(t *try, err error) error {
	if x.upload != nil && errors.Is(x.upload.failed(), os.ErrDeadlineExceeded) {
		return x.upload.failed() // it ended the context as well; the client is still there
	}
	if x.clientGone() {
		return clientError(x.c.Request.Context())
	}
	if x.upload != nil && x.upload.failed() != nil {
		return x.upload.failed()
	}
	if cause := context.Cause(t.req.Context()); errors.Is(cause, ErrTimeout) {
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
	x.tried(t, res, err)
	t.release()
}

// tried tells of a finished try.
func (x *exchange) tried(t *try, res *http.Response, err error) {
	if x.p.cfg.OnEvent == nil {
		return
	}
	e := Event{Kind: Tried, Try: t.Number(), Endpoint: t.Endpoint(), Err: err, Duration: time.Since(t.start), Bytes: x.bytes}
	if res != nil {
		e.Status, e.FirstByte = res.StatusCode, t.head
	}
	switch {
	case errors.Is(err, ErrClientClosed), errors.Is(err, ErrBody):
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
