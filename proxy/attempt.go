package proxy

import (
	"fmt"
	"net/http"
	"net/http/httptrace"

	"github.com/ginfer/ginfer/internal/body"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/llm"
)

// attempt is one call of the transport. Layers below may have replaced it by others: see
// [exchange.Attempt.Latest].
type attempt struct {
	*exchange.Attempt
	req *http.Request
}

// release frees the contexts of the attempt and of the last one that replaced it.
func (t *attempt) release() { t.cancel(nil) }

// cancel cancels the attempt and the last one that replaced it.
func (t *attempt) cancel(cause error) {
	t.Cancel(cause)
	t.Latest().Cancel(cause)
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

// beginHedge starts an attempt beside the first one.
func (x *call) beginHedge() *attempt {
	t := new(attempt)
	t.Attempt, t.req = x.x.BeginHedge(x.out.WithContext(x.c.Request.Context()))
	x.equip(t)
	return t
}

// equip sets an attempt's deadline headers and body.
func (x *call) equip(t *attempt) {
	x.attempts.Add(1)
	if x.deadline.timed {
		x.deadline.setTimeoutHeaders(t.req, t.Began())
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
	if x.upload == nil { // a streamed body can't be sent again
		last.Prefetch()
	}
	if v := last.Verdict(); res.StatusCode < 400 && v.Outcome == exchange.Success {
		x.recordPace(t, llm.IsStream(res.Header))
	}
	return res, nil
}

// giveUp closes a response that is no longer needed.
func giveUp(res *http.Response) {
	if res != nil {
		_ = res.Body.Close()
	}
}
