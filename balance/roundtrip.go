package balance

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/cooldown"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/fault"
)

// RoundTrip sends req to an endpoint. It avoids endpoints that earlier attempts of the same
// exchange used while there is another one. If an endpoint refuses the request before anything
// was sent, as an open circuit does, it uses the next one within the same attempt. If all
// refuse, it calls each once more as the last resort. The error is the transport's, or wraps
// [ErrNoEndpoint] or [ErrCoolingDown].
func (p *Pool) RoundTrip(req *http.Request) (*http.Response, error) {
	streams := p.paced && wantsStream(req)
	above := exchange.Current(req.Context())
	a, req := exchange.Start(req)
	s := search{pool: p, a: a, req: req, streams: streams}
	if a.Number() > 1 {
		s.avoid.used = a.Exchange()
	}
	if !p.cooling.Empty() {
		s.avoid.cooling, s.avoid.subject = &p.cooling, cooldown.Of(req)
	}
	res, err := s.run() //nolint:contextcheck // it has the request's
	if exchange.IsRefused(err) {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		if a != above { // no layer above ends it
			a.Finish(err)
		}
	}
	return res, err
}

// ErrCoolingDown is returned for a request that has another upstream, when every endpoint of
// this pool has a cooldown for its credential.
var ErrCoolingDown = errors.New("balance: every endpoint is cooling down")

// search is one attempt's search for an endpoint.
type search struct {
	pool    *Pool
	a       *exchange.Attempt
	req     *http.Request
	streams bool
	avoid   avoidance
}

// avoidance is the set of endpoints that a pick must not choose.
type avoidance struct {
	used    *exchange.Exchange // the endpoints that it used; nil: none
	refused []*node            // the endpoints that refused
	cooling *cooldown.Table    // the endpoints with a cooldown for subject; nil: none
	subject cooldown.Subject
}

func (v *avoidance) isZero() bool { return v.used == nil && v.cooling == nil && len(v.refused) == 0 }

// has reports whether n must not be chosen.
func (v *avoidance) has(n *node) bool {
	return v.used != nil && v.used.Used(n.name) || slices.Contains(v.refused, n) ||
		v.cooling != nil && v.cooling.Wait(n.name, v.subject) > 0
}

// run sends the request to one endpoint after the other, until one does not refuse.
func (s *search) run() (*http.Response, error) {
	var err error
	for n := s.next(); n != nil; n = s.next() {
		var res *http.Response
		if res, err = s.pool.send(s.a, s.req, n, s.streams); !exchange.IsRefused(err) {
			return res, err
		}
		s.avoid.refused = append(s.avoid.refused, n)
	}
	if err == nil && s.avoid.cooling != nil && s.pool.pick(s.req, s.a, &avoidance{}) != nil {
		return nil, &apierror.Error{Status: http.StatusTooManyRequests, Code: "cooling_down", Message: "The upstream servers asked this caller to wait.", RetryAfter: time.Second, Err: fault.Join(ErrCoolingDown, &exchange.NotSentError{})}
	}
	if err == nil {
		return nil, &apierror.Error{Status: http.StatusServiceUnavailable, Code: "no_endpoint", Message: "No upstream server is available.", RetryAfter: time.Second, Err: fault.Join(ErrNoEndpoint, &exchange.NotSentError{})}
	}
	return s.lastResort(err)
}

// next picks an endpoint. If there is no other, it picks one that is cooling down, or else one
// that an earlier attempt used.
func (s *search) next() *node {
	if n := s.pool.pick(s.req, s.a, &s.avoid); n != nil {
		return n
	}
	if s.avoid.cooling != nil && !exchange.HasAlternative(s.req.Context()) {
		s.avoid.cooling = nil
		if n := s.pool.pick(s.req, s.a, &s.avoid); n != nil {
			return n
		}
	}
	if s.avoid.used == nil {
		return nil
	}
	s.avoid.used = nil
	n := s.pool.pick(s.req, s.a, &s.avoid)
	s.a.SetOthers(0)
	return n
}

// lastResort sends the request once more to the endpoints that refused, because there are no
// others.
func (s *search) lastResort(err error) (*http.Response, error) {
	s.avoid = avoidance{}
	req := s.req.WithContext(exchange.WithLastResort(s.req.Context()))
	for n := s.pool.pick(req, s.a, &s.avoid); n != nil; n = s.pool.pick(req, s.a, &s.avoid) {
		s.a.SetOthers(0)
		res, again := s.pool.send(s.a, req, n, s.streams)
		if !exchange.IsRefused(again) {
			return res, again
		}
		err = again
		s.avoid.refused = append(s.avoid.refused, n)
	}
	return nil, err
}

// send sends the request to one endpoint.
func (p *Pool) send(a *exchange.Attempt, req *http.Request, n *node, streams bool) (*http.Response, error) {
	out := n.outbound(req, p.cfg.PreserveHost)
	u := newUse(p, a, n, req)
	if streams {
		u.waits.Store(n.pace.requested(time.Now().UnixNano()))
	}
	isRefused := false
	defer func() {
		if !isRefused { // also when the transport panics: the attempt has ended then
			a.OnEnd(u.ended)
		}
	}()
	res, err := a.Do(out, n.transport)
	if refused, ok := errors.AsType[*exchange.NotSentError](err); ok {
		isRefused = true
		u.refused(refused.Cooldown)
		return nil, err
	}
	if err == nil {
		u.responded(res)
	}
	return res, err
}
