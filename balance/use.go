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

// spentCooldown is the cooldown of a spent or rejected credential at an endpoint that did not
// name one: that does not change within seconds.
const spentCooldown = 30 * time.Second

// exhaustedCooldown is the same after RESOURCE_EXHAUSTED of gRPC, which is about a rate.
const exhaustedCooldown = 5 * time.Second

// use is one attempt at one endpoint, until its response has ended.
type use struct {
	pool    *Pool
	node    *node
	a       *exchange.Attempt
	subject func() cooldown.Subject
	waits   atomic.Pointer[list.Element] // its place in the queue for a first event
}

func newUse(p *Pool, a *exchange.Attempt, n *node, req *http.Request) *use {
	n.inflight.Add(1)
	n.requests.Add(1)
	return &use{pool: p, node: n, a: a, subject: sync.OnceValue(func() cooldown.Subject { return cooldown.Of(req) })}
}

// leave removes the attempt from the in-flight count.
func (u *use) leave() {
	u.node.inflight.Add(-1)
	u.unlisted()
}

// refused reverts an attempt that was not made, and avoids the endpoint for d.
func (u *use) refused(d time.Duration) {
	u.node.requests.Add(-1)
	u.leave()
	if d > 0 {
		u.node.coolingUntil.Store(time.Now().Add(min(d, cooldown.Most)).UnixNano())
		u.pool.changed()
	}
}

// unlisted removes the attempt from the queue for a first event.
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

// responded applies the head of a response.
func (u *use) responded(res *http.Response) {
	if res.StatusCode >= http.StatusBadRequest {
		u.subject() // while the request is at hand
	}
	if d, ok := requestedCooldown(res.StatusCode, res.Header, time.Now()); ok {
		u.pool.cooling.Start(u.node.name, u.subject(), d)
	}
	u.follow(u.a)
}

// ended counts the end of the attempt.
func (u *use) ended(e *exchange.End) {
	u.leave()
	if d := cooldownOf(e); d > 0 {
		u.pool.cooling.Start(u.node.name, u.subject(), d)
	}
	x := u.a.Exchange()
	if x.Shadow || !e.Good() && !e.Bad() {
		return
	}
	u.pool.count(u.node, outcome{ok: e.Good(), caller: x.Caller, seen: x.Observe(u.node, e.Good())})
}

// cooldownOf returns the cooldown for a credential that has nothing left at an endpoint which
// named none.
func cooldownOf(e *exchange.End) time.Duration {
	if e.Blame != exchange.Credential {
		return 0
	}
	if _, ok := requestedCooldown(e.Status, e.Header, time.Now()); ok {
		return 0
	}
	if _, grpc := errors.AsType[*exchange.GRPCError](e.Err); grpc && !e.Elsewhere {
		return exhaustedCooldown
	}
	if e.Elsewhere {
		return spentCooldown
	}
	return 0
}

// requestedCooldown returns the Retry-After of a 429 or 503.
func requestedCooldown(status int, h http.Header, now time.Time) (time.Duration, bool) {
	if status != http.StatusTooManyRequests && status != http.StatusServiceUnavailable {
		return 0, false
	}
	d, _ := retryafter.Parse(h, now)
	return min(d, cooldown.Most), d > 0
}
