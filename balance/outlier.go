package balance

import (
	"errors"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/ginfer/ginfer/internal/evidence"
	"github.com/ginfer/ginfer/internal/exchange"
)

// Outlier ejects endpoints whose live requests fail: Envoy's outlier
// detection, with its defaults. Consecutive failures eject at once; the other
// two rules are applied at each sweep of [Pool.Run]. An ejection ends by the
// clock, whether or not Run runs. Zero means default, negative means off.
//
// Failures are those that the endpoint is to blame for: no status 4xx is one. A request is
// one of them, whatever the number of its attempts there. Where callers are told apart, the
// failures of one alone eject nothing while others succeeded in the last ten seconds.
type Outlier struct {
	// Consecutive failures in a row eject. Default 5.
	Consecutive int
	// Interval is the time between sweeps. Default 10 s.
	Interval time.Duration
	// BaseEjection times the number of ejections in a row is how long one
	// lasts, up to MaxEjection. Defaults 30 s and 300 s.
	BaseEjection, MaxEjection time.Duration
	// MaxEjected is the most endpoints, in percent, ejected at once; one is
	// always allowed. Default 10.
	MaxEjected int
	// StdevFactor: an endpoint whose success rate is below the mean minus so
	// many standard deviations is ejected, when MinHosts endpoints had
	// MinRequests in the interval. Defaults 1.9, 5, 100.
	StdevFactor float64
	MinHosts    int
	MinRequests int
	// FailurePercent of an interval ejects whatever the others do, with
	// MinRequests. Default off; Envoy's is 85.
	FailurePercent int
}

func (o *Outlier) resolve() error {
	o.Consecutive = orDefault(o.Consecutive, 5)
	o.Interval = orDefault(o.Interval, 10*time.Second)
	o.BaseEjection = orDefault(o.BaseEjection, 30*time.Second)
	o.MaxEjection = max(orDefault(o.MaxEjection, 300*time.Second), o.BaseEjection)
	o.MaxEjected = orDefault(o.MaxEjected, 10)
	o.StdevFactor = orDefault(o.StdevFactor, 1.9)
	o.MinHosts = orDefault(o.MinHosts, 5)
	o.MinRequests = orDefault(o.MinRequests, 100)
	if o.MaxEjected > 100 || o.FailurePercent > 100 {
		return errors.New("balance: Outlier: MaxEjected and FailurePercent are percentages")
	}
	return nil
}

func orDefault[T ~int | ~int64 | ~float64](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}

// record is what a node's live requests tell.
type record struct {
	mu        sync.Mutex
	row       int // failures in a row
	ok, bad   int // since the last sweep
	ejections int // in a row
	callers   evidence.Callers
}

// outcome is how an attempt went, whose it was, and whether its exchange was counted here
// before.
type outcome struct {
	ok     bool
	caller uint64
	seen   exchange.Observation
}

// count takes one attempt's outcome.
func (p *Pool) count(n *node, o outcome) {
	now := time.Now()
	n.success.add(now.UnixNano(), o.ok)
	if !o.ok {
		n.failures.Add(1)
	}
	if n.outlier.add(now, o, n.ejected.Load() > now.UnixNano(), p.cfg.Outlier.Consecutive) {
		p.eject(n, now)
	}
}

// add counts an outcome and reports whether the row is long enough to eject. What ends
// while the node is out began before: its next row starts afresh. An exchange counts once,
// whatever the number of its attempts.
func (r *record) add(now time.Time, o outcome, out bool, limit int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch o.seen {
	case exchange.Counted:
		r.callers.Add(now, o.caller, !o.ok)
	case exchange.Corrected:
		r.callers.Correct(now, o.caller)
		r.bad = max(r.bad-1, 0) // it may be in the interval before
	case exchange.Repeated:
		return false
	}
	if o.ok {
		r.ok++
		r.row = 0
		return false
	}
	r.bad++
	if r.row++; out {
		r.row = 0
	}
	if limit < 0 || r.row < limit || !r.shared(now) {
		return false
	}
	r.row = 0
	return true
}

// shared reports whether the failures are not those of one caller beside successes of
// others, who could not be served any more.
func (r *record) shared(now time.Time) bool {
	others, several := r.callers.Others(now)
	return several || others.Good() == 0
}

// eject takes a node out for a while, unless too many are out already.
func (p *Pool) eject(n *node, now time.Time) {
	o := &p.cfg.Outlier
	if o.MaxEjected < 0 || o.BaseEjection < 0 {
		return
	}
	p.mu.Lock() // two at once must not both be the last one allowed
	if !p.mayEject(n, now.UnixNano()) {
		p.mu.Unlock()
		return
	}
	d := n.outlier.ejection(o.BaseEjection, o.MaxEjection)
	n.ejected.Store(now.Add(d).UnixNano())
	p.changed()
	p.mu.Unlock()
	p.notify(Event{Kind: Ejected, Endpoint: n.name, For: d})
}

// ejection returns how long the next one lasts. It counts no further than
// makes a difference, so that a node that was out for long can live it down.
func (r *record) ejection(base, most time.Duration) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Duration(r.ejections)*base < most {
		r.ejections++
	}
	return min(time.Duration(r.ejections)*base, most)
}

// mayEject reports whether n is in and the share of those out allows it.
func (p *Pool) mayEject(n *node, now int64) bool {
	list := p.set.Load().nodes
	if !slices.Contains(list, n) { // removed meanwhile
		return false
	}
	out := 0
	for _, other := range list {
		if other.ejected.Load() > now {
			if other == n {
				return false
			}
			out++
		}
	}
	return out == 0 || (out+1)*100 <= p.cfg.Outlier.MaxEjected*len(list)
}

// rate is one node's interval.
type rate struct {
	node    *node
	success float64 // share
	total   int
	shared  bool // it is not one caller's alone
}

// sweep applies the rules that compare endpoints, and lets the memory of
// earlier ejections fade.
func (p *Pool) sweep(now time.Time) {
	o := &p.cfg.Outlier
	var rates []rate
	for _, n := range p.set.Load().nodes {
		r := n.outlier.interval(now, n.ejected.Load() <= now.UnixNano())
		r.node = n
		if r.total >= o.MinRequests && o.MinRequests > 0 {
			rates = append(rates, r)
		}
	}
	limit := math.Inf(-1)
	if len(rates) >= o.MinHosts && o.MinHosts > 0 && o.StdevFactor > 0 {
		mean, stdev := spread(rates)
		limit = mean - o.StdevFactor*stdev
	}
	for _, r := range rates {
		if r.shared && (r.success < limit || o.FailurePercent > 0 && (1-r.success)*100 >= float64(o.FailurePercent)) {
			p.eject(r.node, now)
		}
	}
}

// interval returns and forgets the counts since the last sweep.
func (r *record) interval(now time.Time, in bool) rate {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := rate{total: r.ok + r.bad, shared: r.shared(now)}
	if out.total > 0 {
		out.success = float64(r.ok) / float64(out.total)
	}
	r.ok, r.bad = 0, 0
	if in && r.ejections > 0 {
		r.ejections--
	}
	return out
}

func spread(rates []rate) (mean, stdev float64) {
	for _, r := range rates {
		mean += r.success
	}
	mean /= float64(len(rates))
	for _, r := range rates {
		stdev += (r.success - mean) * (r.success - mean)
	}
	return mean, math.Sqrt(stdev / float64(len(rates)))
}
