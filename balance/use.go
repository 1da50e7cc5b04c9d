package balance

import (
	"container/list"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ginfer/ginfer/internal/cooldown"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/retryafter"
)

// spentRest is for how long a credential that is spent, or not accepted, is kept from an
// endpoint which did not say for how long: that does not change within seconds.
const spentRest = 30 * time.Second

// exhaustedRest is the same after RESOURCE_EXHAUSTED of gRPC, which is about a rate.
const exhaustedRest = 5 * time.Second

// use is one attempt at one endpoint, until its response has ended.
type use struct {
	pool    *Pool
	node    *node
	a       *exchange.Attempt
	subject func() cooldown.Subject
	waits   atomic.Pointer[list.Element] // its place in line for a first event
}

func newUse(p *Pool, a *exchange.Attempt, n *node, req *http.Request) *use {
	n.inflight.Add(1)
	n.requests.Add(1)
	return &use{pool: p, node: n, a: a, subject: sync.OnceValue(func() cooldown.Subject { return cooldown.Of(req) })}
}

// leave takes the attempt out of the in-flight count.
func (u *use) leave() {
	u.node.inflight.Add(-1)
	u.unlisted()
}

// refused takes back an attempt that was not made, and leaves the endpoint alone for as
// long as was said.
func (u *use) refused(rest time.Duration) {
	u.node.requests.Add(-1)
	u.leave()
	if rest > 0 {
		u.node.coolingUntil.Store(time.Now().Add(min(rest, cooldown.Most)).UnixNano())
		u.pool.changed()
	}
}

// unlisted takes the attempt out of the line of those that wait for a first event.
func (u *use) unlisted() {
	if e := u.waits.Swap(nil); e != nil {
		u.node.pace.gone(e)
	}
}

// begun is unlisted by the first content.
func (u *use) begun() {
	if e := u.waits.Swap(nil); e != nil {
		u.node.pace.begun(e)
	}
}

// responded heeds what the head of a response asks for.
func (u *use) responded(res *http.Response) {
	if res.StatusCode >= http.StatusBadRequest {
		u.subject() // while the request is at hand
	}
	if d, ok := restAsked(res.StatusCode, res.Header, time.Now()); ok {
		u.pool.cooling.Start(u.node.name, u.subject(), d)
	}
	u.follow(u.a)
}

// ended counts how the attempt ended.
func (u *use) ended(e *exchange.End) {
	u.leave()
	if d := restOf(e); d > 0 {
		u.pool.cooling.Start(u.node.name, u.subject(), d)
	}
	x := u.a.Exchange()
	if x.Shadow || !e.Good() && !e.Bad() {
		return
	}
	u.pool.count(u.node, outcome{ok: e.Good(), caller: x.Caller, seen: x.Observe(u.node, e.Good())})
}

// restOf is how long a credential is kept from an endpoint that has nothing left for it, and
// does not say for how long.
func restOf(e *exchange.End) time.Duration {
	if e.Blame != exchange.Credential {
		return 0
	}
	if _, asked := restAsked(e.Status, e.Header, time.Now()); asked {
		return 0
	}
	if _, grpc := errors.AsType[*exchange.GRPCError](e.Err); grpc && !e.Elsewhere {
		return exhaustedRest
	}
	if e.Elsewhere {
		return spentRest
	}
	return 0
}

// restAsked reads the Retry-After of an endpoint that has enough for now.
func restAsked(status int, h http.Header, now time.Time) (time.Duration, bool) {
	if status != http.StatusTooManyRequests && status != http.StatusServiceUnavailable {
		return 0, false
	}
	d, _ := retryafter.Parse(h, now)
	return min(d, cooldown.Most), d > 0
}
