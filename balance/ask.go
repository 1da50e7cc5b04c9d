package balance

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/cooldown"
	"github.com/ginfer/ginfer/internal/exchange"
)

// RoundTrip sends req to an endpoint. An endpoint that an earlier attempt of the same
// exchange went to is avoided while there is another one. When one refuses the request
// before anything was sent, as an open circuit does, the others are asked within the same
// attempt; when all do, they are asked again and told that there is nowhere else to go.
// The error is the transport's, or ErrNoEndpoint.
func (p *Pool) RoundTrip(req *http.Request) (*http.Response, error) {
	streams := p.paced && asksStream(req)
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
		if a != above { // nobody above ends it
			a.Finish(err)
		}
	}
	return res, err
}

// ErrCoolingDown is returned for a request that has another upstream to go to, when every
// endpoint here has asked its credential to wait.
var ErrCoolingDown = errors.New("balance: every endpoint asked to wait")

// search is one attempt's way to an endpoint.
type search struct {
	pool    *Pool
	a       *exchange.Attempt
	req     *http.Request
	streams bool
	avoid   avoidance
}

// avoidance is which endpoints a pick must not choose.
type avoidance struct {
	used    *exchange.Exchange // those that it used; nil: none
	asked   []*node            // those that refused
	cooling *cooldown.Table    // those that asked the subject to wait; nil: none
	subject cooldown.Subject
}

func (v *avoidance) isZero() bool { return v.used == nil && v.cooling == nil && len(v.asked) == 0 }

// has reports whether n must not be chosen.
func (v *avoidance) has(n *node) bool {
	return v.used != nil && v.used.Used(n.name) || slices.Contains(v.asked, n) ||
		v.cooling != nil && v.cooling.Wait(n.name, v.subject) > 0
}

// run asks one endpoint after the other, until one does not refuse.
func (s *search) run() (*http.Response, error) {
	var err error
	for n := s.next(); n != nil; n = s.next() {
		var res *http.Response
		if res, err = s.pool.send(s.a, s.req, n, s.streams); !exchange.IsRefused(err) {
			return res, err
		}
		s.avoid.asked = append(s.avoid.asked, n)
	}
	if err == nil && s.avoid.cooling != nil && s.pool.pick(s.req, s.a, &avoidance{}) != nil {
		return nil, &apierror.Error{Status: http.StatusTooManyRequests, Code: "cooling_down", Message: "The upstream servers asked this caller to wait.", RetryAfter: time.Second, Err: errors.Join(ErrCoolingDown, &exchange.NotSentError{})}
	}
	if err == nil {
		return nil, &apierror.Error{Status: http.StatusServiceUnavailable, Code: "no_endpoint", Message: "No upstream server is available.", RetryAfter: time.Second, Err: errors.Join(ErrNoEndpoint, &exchange.NotSentError{})}
	}
	return s.lastResort(err)
}

// next picks an endpoint. Rather than none it is one that asked to wait, and rather than
// that one which an earlier attempt went to.
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

// lastResort asks those that refused again, because there are no others.
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
		s.avoid.asked = append(s.avoid.asked, n)
	}
	return nil, err
}

// send asks one endpoint.
func (p *Pool) send(a *exchange.Attempt, req *http.Request, n *node, streams bool) (*http.Response, error) {
	out := n.outbound(req, p.cfg.PreserveHost)
	u := newUse(p, a, n, req)
	if streams {
		u.waits.Store(n.pace.ask(time.Now().UnixNano()))
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
