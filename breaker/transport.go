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

// Transport returns a RoundTripper that sends requests to next while their circuit admits them,
// and records how the exchanges end. Use it below a balance.Pool or around any
// http.RoundTripper.
func (g *Group) Transport(next http.RoundTripper) http.RoundTripper {
	return &transport{group: g, next: next}
}

type transport struct {
	group *Group
	next  http.RoundTripper
}

// RoundTrip implements http.RoundTripper. For a rejected request it returns an error that wraps
// [ErrOpen], [ErrFull] or [ErrCoolingDown].
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	c := t.group.circuit(t.group.cfg.Key(req))
	above := exchange.Current(req.Context())
	pooled := above != nil && above.Endpoint() != ""
	if wait := t.group.cooldownOf(c.key, req, pooled); wait > 0 {
		return nil, refusal(ErrCoolingDown, wait, 0)
	}
	q := admissionOf(req, above)
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
		if a != above { // no layer above ends it
			a.Finish(err)
		}
		return nil, err
	}
	if err == nil && !pooled {
		t.group.startCooldown(c, req, res)
	}
	return res, err
}

// admissionOf returns the admission of req.
func admissionOf(req *http.Request, above *exchange.Attempt) admission {
	q := admission{ctx: req.Context(), alone: above == nil || above.Others() == 0, last: exchange.IsLastResort(req.Context()), path: req.URL.Path}
	if x := exchange.From(req.Context()); x != nil {
		q.caller = x.Caller
	}
	api := ""
	if of := llm.Of(req.Method, req.URL.Path); of != llm.Unknown {
		api = of.String()
	}
	version := ""
	if above != nil {
		version = above.Version()
	}
	q.route = routeKey(api, version, req.URL.Path)
	return q
}

// over counts the end of an attempt. A shadow request does not count.
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

// cooldownOf returns how long a request must avoid the circuit's endpoint, because of its
// credential and model. A pool above handles that itself.
func (g *Group) cooldownOf(key string, req *http.Request, pooled bool) time.Duration {
	if pooled || g.cooling.Empty() {
		return 0
	}
	return g.cooling.Wait(key, cooldown.Of(req))
}

// startCooldown starts a cooldown if the endpoint requests one.
func (g *Group) startCooldown(c *circuit, req *http.Request, res *http.Response) {
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
