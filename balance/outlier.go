package balance

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/ginfer/ginfer/internal/evidence"
	"github.com/ginfer/ginfer/internal/exchange"
)

// Outlier configures passive health checks, which eject endpoints when live requests fail:
// Envoy's outlier detection, with its defaults. Consecutive failures eject at once; the other
// two rules are applied by each sweep of [Pool.Run]. An ejection ends by the clock, whether or
// not Run runs. Zero values select the defaults, negative ones disable.
//
// A failure is what the endpoint is to blame for, which no status 4xx is. A request counts
// once, whatever the number of its attempts. If callers are known, the failures of one caller
// alone don't eject an endpoint while others succeeded in the last ten seconds.
type Outlier struct {
	// Consecutive is the number of failures in a row that ejects. Default: 5.
	Consecutive int
	// Interval is the time between sweeps. Default: 10 s.
	Interval time.Duration
	// BaseEjection times the number of ejections in a row is the duration of an ejection, up to
	// MaxEjection. Default: 30 s and 300 s.
	BaseEjection, MaxEjection time.Duration
	// MaxEjected is the maximum share of ejected endpoints, in percent; one is always allowed.
	// Default: 10.
	MaxEjected int
	// StdevFactor is the number of standard deviations below the mean success rate at which an
	// endpoint is ejected, if at least MinHosts endpoints had MinRequests in the interval.
	// Default: 1.9, 5 and 100.
	StdevFactor float64
	MinHosts    int
	MinRequests int
	// FailurePercent is the percentage of failures in an interval that ejects an endpoint with
	// MinRequests, whatever the others do. Default: 0, off; Envoy's is 85.
	FailurePercent int
}

func (o *Outlier) resolve() error {
	o.Consecutive = cmp.Or(o.Consecutive, 5)
	o.Interval = cmp.Or(o.Interval, 10*time.Second)
	o.BaseEjection = cmp.Or(o.BaseEjection, 30*time.Second)
	o.MaxEjection = max(cmp.Or(o.MaxEjection, 300*time.Second), o.BaseEjection)
	o.MaxEjected = cmp.Or(o.MaxEjected, 10)
	o.StdevFactor = cmp.Or(o.StdevFactor, 1.9)
	o.MinHosts = cmp.Or(o.MinHosts, 5)
	o.MinRequests = cmp.Or(o.MinRequests, 100)
	if o.MaxEjected > 100 || o.FailurePercent > 100 {
		return errors.New("balance: Outlier: MaxEjected and FailurePercent are percentages")
	}
	return nil
}

// record counts the results of a node's live requests.
type record struct {
	mu        sync.Mutex
	row       int // failures in a row
	ok, bad   int // since the last sweep
	ejections int // in a row
	callers   evidence.Callers
}

// outcome is the result of an attempt, its caller, and whether its exchange was counted for the
// node before.
type outcome struct {
	ok     bool
	caller uint64
	seen   exchange.Observation
}

// count records the outcome of one attempt.
func (p *Pool) count(n *node, o outcome) {
	now := time.Now()
	n.success.record(now, o.ok)
	if !o.ok {
		n.failures.Add(1)
		p.set.Load().compareSuccess(now)
	}
	if n.outlier.add(now, o, n.ejected.Load() > now.UnixNano(), p.cfg.Outlier.Consecutive) {
		p.eject(n, now)
	}
}

// add counts an outcome and reports whether the node must be ejected for failures in a row.
// Exchanges that end while the node is out don't count towards the next row. An exchange counts
// once, whatever the number of its attempts.
func (r *record) add(now time.Time, o outcome, out bool, limit int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch o.seen {
	case exchange.Counted:
		r.callers.Add(now, o.caller, !o.ok)
	case exchange.Corrected:
		r.callers.Correct(now, o.caller)
		r.bad = max(r.bad-1, 0) // it may belong to the interval before
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

// shared reports whether the failures are not only those of one caller while others succeed.
func (r *record) shared(now time.Time) bool {
	others, several := r.callers.Others(now)
	return several || others.Good() == 0
}

// eject ejects a node, unless too many are out already.
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

// ejection returns the duration of the next ejection. It counts no further than matters, so
// that a node that was out for long can recover.
func (r *record) ejection(base, most time.Duration) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Duration(r.ejections)*base < most {
		r.ejections++
	}
	return min(time.Duration(r.ejections)*base, most)
}

// mayEject reports whether n is in the set and not ejected, and the share of those ejected
// allows it.
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

// rate is the result of one node's interval.
type rate struct {
	node    *node
	success float64 // from 0 to 1
	total   int
	shared  bool // the failures are not one caller's alone
}

// sweep applies the rules that compare endpoints, and reduces the count of earlier ejections.
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

// interval returns the counts since the last sweep, and resets them.
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
