package balance

import (
	"math"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"
)

// node is an endpoint at work.
type node struct {
	name      string
	url       *url.URL
	base      string // path in front of each request's, as spelled in the URL
	basePath  string // the same, decoded
	transport http.RoundTripper
	weight    atomic.Int64

	inflight atomic.Int64
	requests atomic.Int64
	failures atomic.Int64
	success  ewma
	pace     pace

	draining     atomic.Bool
	sick         atomic.Bool  // failed its active checks
	ejected      atomic.Int64 // until, unix ns
	coolingUntil atomic.Int64 // until, unix ns: asked for by who refused below
	started      atomic.Int64 // when its slow start began, unix ns; 0: none

	outlier record
	probes  int // consecutive like results of the active check; only its loop uses it
}

// available reports that nothing speaks against the node.
func (n *node) available(now int64) bool {
	return !n.draining.Load() && !n.sick.Load() && n.ejected.Load() <= now
}

// usable is available, or in a panic anything but draining.
func (n *node) usable(now int64, panicking bool) bool {
	return n.available(now) || panicking && !n.draining.Load()
}

// ewma is a moving share of successes that forgets with time, so that a node
// that is no longer picked becomes attractive again.
type ewma struct {
	bits atomic.Uint64 // float64 of 1-value, so that zero means "no failure"
	at   atomic.Int64
}

const (
	// successStep is how much one failure or success counts.
	successStep = 0.1
	// successMemory is the time in which a bad record fades to 1/e.
	successMemory = 10 * time.Second
	// lowestSuccess keeps costs finite.
	lowestSuccess = 0.01
)

// clean reports that there is no failure to remember: the share is 1, and
// nobody needs the time to know it.
func (e *ewma) clean() bool { return e.bits.Load() == 0 }

// value is the share of successes at a moment.
func (e *ewma) value(now int64) float64 {
	bad := math.Float64frombits(e.bits.Load())
	if bad == 0 {
		return 1
	}
	age := now - e.at.Load()
	return max(1-bad*math.Exp(-float64(max(age, 0))/float64(successMemory)), lowestSuccess)
}

// recent is the node's share of successes. It looks at the clock only when
// there is a failure, and only if *now is not known yet.
func (n *node) recent(now *int64) float64 {
	if n.success.clean() {
		return 1
	}
	if *now == 0 {
		*now = time.Now().UnixNano()
	}
	return n.success.value(*now)
}

// add counts one exchange. Two at the same moment may count as one: it is a
// hint, not a ledger.
func (e *ewma) add(now int64, ok bool) {
	if ok && e.clean() {
		return
	}
	bad := 1 - e.value(now)
	if ok {
		bad -= successStep * bad
	} else {
		bad += successStep * (1 - bad) * 3
	}
	if bad < 1e-3 {
		bad = 0
	}
	e.bits.Store(math.Float64bits(bad))
	e.at.Store(now)
}

// Status is the state of one endpoint.
type Status struct {
	// Name and URL are its identity, Weight its configured share.
	Name   string `json:"name"`
	URL    string `json:"url"`
	Weight int    `json:"weight"`
	// Healthy reports the active checks' latest verdict; true without them.
	Healthy bool `json:"healthy"`
	// Draining reports that it gets no new requests.
	Draining bool `json:"draining,omitempty"`
	// EjectedUntil is when a passive ejection ends; zero when there is none.
	EjectedUntil time.Time `json:"ejected_until,omitzero"`
	// CoolingUntil is when the last cooldown ends that it asked for, for whatever
	// credential and model, or that of its circuit; zero when there is none.
	CoolingUntil time.Time `json:"cooling_until,omitzero"`
	// Inflight is the number of exchanges under way.
	Inflight int64 `json:"inflight"`
	// Requests and Failures are counted since it was added.
	Requests int64 `json:"requests"`
	Failures int64 `json:"failures"`
	// Success is the recent share of exchanges that it did not fail.
	Success float64 `json:"success"`
	// Slowness is how many times slower than the pool's mean its streams are, with the
	// policy [TokenRate]; without it 1.
	Slowness float64 `json:"slowness"`
}

func (n *node) status(now int64) Status {
	s := Status{
		Name: n.name, URL: n.url.String(), Weight: int(n.weight.Load()), Healthy: !n.sick.Load(), Draining: n.draining.Load(),
		Inflight: n.inflight.Load(), Requests: n.requests.Load(), Failures: n.failures.Load(), Success: n.success.value(now), Slowness: n.pace.slowness(),
	}
	if until := n.ejected.Load(); until > now {
		s.EjectedUntil = time.Unix(0, until)
	}
	if until := n.coolingUntil.Load(); until > now {
		s.CoolingUntil = time.Unix(0, until)
	}
	return s
}
