package breaker

import (
	"errors"
	"net/http"
	"time"

	"github.com/ginfer/ginfer/internal/cooldown"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/llm"
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
// [ErrOpen], [ErrFull] or [ErrCoolingDown].
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	c := t.group.circuit(t.group.cfg.Key(req))
	above := exchange.Current(req.Context())
	pooled := above != nil && above.Endpoint() != ""
	if wait := t.group.resting(c.key, req, pooled); wait > 0 {
		return nil, refusal(ErrCoolingDown, wait, 0)
	}
	q := ask(req, above)
	p, err := c.allow(&q)
	if err != nil {
		if refused, ok := errors.AsType[*exchange.NotSentError](err); ok && !t.group.perHost {
			refused.Cooldown = 0
		}
		return nil, err
	}
	a, req := exchange.Start(req)
	refused := false
	defer func() {
		if !refused { // also when next panics: the attempt has ended then
			a.OnContent(p.firstByte)
			a.OnEnd(p.over)
		}
	}()
	res, err := a.Do(req, t.next)
	if refused = exchange.IsRefused(err); refused {
		p.end(neutral, exchange.Repeated)
		if a != above { // nobody above ends it
			a.Finish(err)
		}
		return nil, err
	}
	if err == nil && !pooled {
		t.group.heed(c, req, res)
	}
	return res, err
}

// ask is what the admission of req depends on.
func ask(req *http.Request, above *exchange.Attempt) question {
	q := question{ctx: req.Context(), alone: above == nil || above.Others() == 0, last: exchange.IsLastResort(req.Context()), path: req.URL.Path}
	if x := exchange.From(req.Context()); x != nil {
		q.caller = x.Caller
	}
	api := ""
	if of := llm.Of(req.Method, req.URL.Path); of != llm.Unknown {
		api = of.String()
	}
	q.route = routeKey(api, exchange.Version(req.Context()), req.URL.Path)
	return q
}

// over counts the end of an attempt. A copy of a request is evidence for nothing.
func (p *permit) over(e *exchange.End) {
	x, o := e.Attempt.Exchange(), outcomeOf(e)
	seen := exchange.Repeated
	if o != neutral && !x.Shadow {
		seen = x.Observe(p.c, o == success)
	}
	p.end(o, seen)
}

func outcomeOf(e *exchange.End) outcome {
	switch {
	case e.Bad():
		return failure
	case e.Good():
		return success
	}
	return neutral
}

// resting is for how long a request must leave the circuit's endpoint alone, which asked
// its credential and model to wait. A pool above sees to that itself.
func (g *Group) resting(key string, req *http.Request, pooled bool) time.Duration {
	if pooled || g.cooling.Empty() {
		return 0
	}
	return g.cooling.Wait(key, cooldown.Of(req))
}

// heed remembers that an endpoint has enough.
func (g *Group) heed(c *circuit, req *http.Request, res *http.Response) {
	if res.StatusCode != http.StatusTooManyRequests {
		return
	}
	c.mu.Lock()
	most := c.settings.MaxCooldown
	c.mu.Unlock()
	if d, ok := retryafter.Parse(res.Header, time.Now()); ok && most > 0 {
		g.cooling.Start(c.key, cooldown.Of(req), min(d, most))
	}
}
