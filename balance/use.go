package balance

import (
	"container/list"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/retryafter"
)

// maxRest bounds how long an endpoint's Retry-After is believed.
const maxRest = time.Minute

// use is one attempt at one endpoint, until its response has ended.
type use struct {
	pool  *Pool
	node  *node
	waits atomic.Pointer[list.Element] // its place in line for a first event
}

// leave takes the attempt out of the in-flight count.
func (u *use) leave() {
	u.node.inflight.Add(-1)
	u.unlisted()
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

// rest leaves the endpoint alone for a time.
func (u *use) rest(d time.Duration) {
	if d > 0 {
		u.node.resting.Store(time.Now().Add(min(d, maxRest)).UnixNano())
		u.pool.changed()
	}
}

// ended counts how the attempt ended.
func (u *use) ended(e *exchange.End) {
	u.leave()
	switch {
	case e.Good():
		u.pool.count(u.node, true)
	case e.Bad():
		u.pool.count(u.node, false)
	}
}

// restAsked reads the Retry-After of an endpoint that has enough for now.
func restAsked(res *http.Response, now time.Time) (time.Duration, bool) {
	if res.StatusCode != http.StatusTooManyRequests && res.StatusCode != http.StatusServiceUnavailable {
		return 0, false
	}
	d, _ := retryafter.Parse(res.Header, now)
	return min(d, maxRest), d > 0
}
