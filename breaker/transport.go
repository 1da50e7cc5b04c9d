package breaker

import (
	"errors"
	"net/http"
	"time"

	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/retryafter"
)

// Transport returns a RoundTripper that lets requests through to next while their
// circuit allows it, and learns from how the exchanges end.
func (g *Group) Transport(next http.RoundTripper) http.RoundTripper {
	return &transport{group: g, next: next}
}

type transport struct {
	group *Group
	next  http.RoundTripper
}

// RoundTrip implements http.RoundTripper. What may not pass is an error that wraps
// [ErrOpen], [ErrFull] or [ErrResting].
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	c, err := t.group.circuit(t.group.cfg.Key(req))
	if err != nil {
		return nil, err
	}
	p, err := c.allow()
	if err != nil {
		if refused, ok := errors.AsType[*exchange.NotSentError](err); ok && !t.group.perHost {
			refused.Rest = 0
		}
		return nil, err
	}
	return p.do(req, t.next)
}

// do makes the attempt that p permits.
func (p *permit) do(req *http.Request, next http.RoundTripper) (*http.Response, error) {
	above := exchange.Current(req.Context())
	a, req := exchange.Start(req)
	refused := false
	defer func() {
		if !refused { // also when next panics: the attempt has ended then
			a.OnContent(p.firstByte)
			a.OnEnd(p.over)
		}
	}()
	res, err := a.Do(req, next)
	if refused = exchange.IsRefused(err); refused {
		p.end(neutral)
		if a != above { // nobody above ends it
			a.Finish(err)
		}
		return nil, err
	}
	if err == nil {
		p.c.heed(res)
	}
	return res, err
}

// over counts the end of an attempt.
func (p *permit) over(e *exchange.End) { p.end(outcomeOf(e)) }

func outcomeOf(e *exchange.End) outcome {
	switch {
	case e.Bad():
		return failure
	case e.Good():
		return success
	}
	return neutral
}

// heed puts the circuit to rest when the endpoint asks for it.
func (c *circuit) heed(res *http.Response) {
	if res.StatusCode != http.StatusTooManyRequests {
		return
	}
	if d, ok := retryafter.Parse(res.Header, time.Now()); ok {
		c.restFor(d)
	}
}
