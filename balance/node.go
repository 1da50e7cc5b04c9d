package balance

import (
	"math"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"
)

// node is the state of an endpoint.
type node struct {
	name      string
	url       *url.URL
	address   string // its URL, as configured
	base      string // the path prefix, as spelled in the URL
	basePath  string // the same, decoded
	transport http.RoundTripper
	weight    atomic.Int64

	inflight atomic.Int64
	requests atomic.Int64
	failures atomic.Int64
	success  success
	pace     pace

	draining     atomic.Bool
	unhealthy    atomic.Bool  // by its active checks
	ejected      atomic.Int64 // until, unix ns
	coolingUntil atomic.Int64 // until, unix ns: requested by a transport that refused
	started      atomic.Int64 // when its slow start began, unix ns; 0: none

	outlier record
	probes  int // consecutive equal results of the active check; only its loop uses it
}

// available reports whether the node is neither draining, unhealthy nor ejected.
func (n *node) available(now int64) bool {
	return !n.draining.Load() && !n.unhealthy.Load() && n.ejected.Load() <= now
}

// usable reports whether the node is available, or in a panic whether it is not draining.
func (n *node) usable(now int64, panicking bool) bool {
	return n.available(now) || panicking && !n.draining.Load()
}

// ewma is a moving success rate that decays with time, so that a node that is no longer picked
// becomes attractive again.
type ewma struct {
	bits atomic.Uint64 // float64 of 1-value, so that zero means "no failure"
	at   atomic.Int64
}

const (
	// successStep is the weight of one success, and failureWeight how much more a failure has.
	successStep   = 0.1
	failureWeight = 3
	// successMemory is the time in which a bad record decays to 1/e.
	successMemory = 10 * time.Second
	// lowestSuccess keeps costs finite.
	lowestSuccess = 0.01
)

// clean reports whether there is no recent failure: the rate is 1, whatever the time.
func (e *ewma) clean() bool { return e.bits.Load() == 0 }

// value returns the success rate at a time.
func (e *ewma) value(now int64) float64 {
	bad := math.Float64frombits(e.bits.Load())
	if bad == 0 {
		return 1
	}
	age := now - e.at.Load()
	return max(1-bad*math.Exp(-float64(max(age, 0))/float64(successMemory)), lowestSuccess)
}

// recent returns the node's success rate. It reads the clock only after a failure, and only if
// *now is not set.
func (n *node) recent(now *int64) float64 {
	if n.success.clean() {
		return 1
	}
	if *now == 0 {
		*now = time.Now().UnixNano()
	}
	return n.success.value(*now)
}

// add counts one exchange. Two at the same moment may count as one: it is a hint, not a ledger.
func (e *ewma) add(now int64, ok bool) {
	if ok && e.clean() {
		return
	}
	bad := 1 - e.value(now)
	if ok {
		bad -= successStep * bad
	} else {
		bad += successStep * (1 - bad) * failureWeight
	}
	if bad < 1e-3 {
		bad = 0
	}
	e.bits.Store(math.Float64bits(bad))
	e.at.Store(now)
}

// Status describes one endpoint.
type Status struct {
	// Name and URL identify the endpoint, and Weight is its configured share.
	Name   string `json:"name"`
	URL    string `json:"url"`
	Weight int    `json:"weight"`
	// Healthy is the latest result of the active checks; true without them.
	Healthy bool `json:"healthy"`
	// Draining reports whether the endpoint gets no new requests.
	Draining bool `json:"draining,omitempty"`
	// EjectedUntil is the end of its ejection; zero if there is none.
	EjectedUntil time.Time `json:"ejected_until,omitzero"`
	// CoolingUntil is the end of the last cooldown, of any credential and model or of its
	// circuit; zero if there is none.
	CoolingUntil time.Time `json:"cooling_until,omitzero"`
	// Inflight is the number of exchanges in progress.
	Inflight int64 `json:"inflight"`
	// Requests and Failures are totals since the endpoint was added.
	Requests int64 `json:"requests"`
	Failures int64 `json:"failures"`
	// Success is the recent success rate, from 0 to 1.
	Success float64 `json:"success"`
	// Slowness is how many times slower than the pool's mean its streams are, with the policy
	// [TokenRate]; 1 without it.
	Slowness float64 `json:"slowness"`
}

func (n *node) status(now int64) Status {
	s := Status{
		Name: n.name, URL: n.address, Weight: int(n.weight.Load()), Healthy: !n.unhealthy.Load(), Draining: n.draining.Load(),
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
