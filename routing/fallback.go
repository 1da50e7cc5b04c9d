package routing

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/attempt"
	"github.com/ginfer/ginfer/internal/body"
)

// next is the first target from one on that can do what a request needs; -1 if
// there is none.
func next(chain []Target, from int, n needs) int {
	for i := from; i < len(chain); i++ {
		if chain[i].Capabilities.lacks(n) == "" {
			return i
		}
	}
	return -1
}

// walk asks the targets that can do what the request needs, one after another,
// until one does not fail.
func (t transport) walk(req *http.Request, d *Decision) (*http.Response, error) {
	n := d.needs.of(req)
	i := next(d.chain, 0, n)
	if i < 0 { // the first one's own error says best what is wrong
		return t.send(req, d, 0)
	}
	if attempt.From(req.Context()).Number() == 1 { // told once, however often the proxy tries
		t.skipped(req, d, 0, i, n)
	}
	again := body.Again(req)
	for tried := 0; ; tried++ {
		following := next(d.chain, i+1, n)
		if following < 0 || again == nil {
			if tried > 0 {
				attempt.From(req.Context()).Anew(true)
			}
			return t.send(req, d, i)
		}
		res, err := t.attempt(req, d, i)
		if !fallsBack(req, res, err) {
			return res, err
		}
		t.skipped(req, d, i+1, following, n)
		t.leave(req, d, i, following, res, err)
		whole, err := again()
		if err != nil {
			return nil, err
		}
		req = req.WithContext(req.Context())
		req.Body = whole
		i = following
	}
}

// skipped tells of targets that are not asked because they lack something.
func (t transport) skipped(req *http.Request, d *Decision, from, to int, n needs) {
	for _, target := range d.chain[from:to] {
		t.router.notify(req.Context(), Event{Kind: Skipped, Model: d.Model, Version: target.Version, Lacks: target.Capabilities.lacks(n)})
	}
}

// leave gives target i up for a later one. The proxy must not begin anew after
// that: the request would go through the chain once more.
func (t transport) leave(req *http.Request, d *Decision, i, to int, res *http.Response, err error) {
	attempt.From(req.Context()).MakeLast()
	e := Event{Kind: FellBack, Model: d.Model, Version: d.chain[to].Version, From: d.chain[i].Version, Err: err}
	if res != nil {
		e.Status = res.StatusCode
		_ = res.Body.Close() // what is left of it may never come
	}
	t.router.notify(req.Context(), e)
}

// attempt asks a target that another one follows: it must begin to answer
// within its patience, or the proxy's own limit. That would end the whole try.
func (t transport) attempt(req *http.Request, d *Decision, i int) (*http.Response, error) {
	patience := d.chain[i].Patience
	try := attempt.From(req.Context())
	if limit := try.FirstByte(); limit > 0 && (patience <= 0 || limit < patience) {
		patience = limit
	}
	try.Anew(false)
	if patience <= 0 {
		return t.send(req, d, i)
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	timer := time.AfterFunc(patience, func() { cancel(errPatience) })
	try.OnAlive(func() { timer.Reset(patience) }) // JSON that comes in parts has begun
	res, err := t.send(req.WithContext(ctx), d, i)
	try.OnAlive(nil)
	late := !timer.Stop() || errors.Is(context.Cause(ctx), errPatience)
	if late && err == nil { // the context is cancelled
		_ = res.Body.Close()
		res, err = nil, errPatience
	}
	if err != nil {
		if errors.Is(context.Cause(ctx), errPatience) {
			err = errPatience
		}
		cancel(nil)
		return nil, err
	}
	res.Body = &cancelling{ReadCloser: res.Body, cancel: cancel}
	return res, nil
}

// errPatience is attempt.ErrTimeout, for balancers to count.
var errPatience = fmt.Errorf("routing: no answer began in time: %w", attempt.ErrTimeout)

// cancelling ends a context when a body is closed.
type cancelling struct {
	io.ReadCloser

	cancel context.CancelCauseFunc
}

// Close implements io.Closer.
func (c *cancelling) Close() error {
	defer c.cancel(nil)
	return c.ReadCloser.Close()
}

// fallsBack reports whether a target failed and the next one is to be asked: not
// for a client that left, nor beyond the proxy's budget, nor while the proxy
// would try another endpoint of the same target. The same endpoint is not asked
// again: the next target is more likely to answer.
func fallsBack(req *http.Request, res *http.Response, err error) bool {
	if !isFailure(res, err) || req.Context().Err() != nil {
		return false
	}
	try := attempt.From(req.Context())
	if (try.Others() > 0 || try.Hedge()) && !try.Final(res, err) {
		return false
	}
	_, unsent := errors.AsType[*attempt.NotSentError](err)
	return unsent || try.Spend() // the budget is for calls, not for refusals
}

// isFailure tells the failure of a target from an answer, and from an error of
// the gateway's own that is about the request: others would fail no less.
func isFailure(res *http.Response, err error) bool {
	var status int
	if err == nil {
		status = res.StatusCode
	} else if own, ok := errors.AsType[*apierror.Error](err); ok && own.Status != 0 {
		status = own.Status
	} else {
		return true
	}
	return isFailed(status)
}

// isFailed tells a status that is not the request's own fault.
func isFailed(status int) bool {
	return status == http.StatusTooManyRequests || status >= http.StatusInternalServerError
}
