package proxy

import (
	"cmp"
	"fmt"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/fault"
	"github.com/ginfer/ginfer/internal/llm"
)

// ErrBeaten is the cause of an attempt that was canceled because another one was faster.
var ErrBeaten = exchange.ErrBeaten

// Hedge configures hedging: a second attempt beside a first one that is slow to respond. The
// attempt with the first content is relayed and the other one canceled. Only requests for
// streams are hedged, since nothing is known of a single response before it is complete. They
// must satisfy [Retry].Repeat, and another endpoint must be available. A hedge also counts
// against the budget for extra attempts. Source: Dean and Barroso, The Tail at Scale, 2013.
type Hedge struct {
	// Ratio is the number of hedges allowed per request, above 0 and up to 1. Unused ones are
	// saved up, to those of 600 requests; the fewer are left, the later an attempt must be.
	// Default: 0.05.
	Ratio float64
	// Quantile determines when an attempt is slow: beyond this quantile, above 0 and up to 1,
	// of the times to first content in the last one to two minutes, in the same class. Hedging
	// starts after 20 such requests. Default: 0.95.
	Quantile float64
}

// resolve applies the defaults. Nil remains nil: off.
func (h *Hedge) resolve() (*Hedge, error) {
	if h == nil {
		return nil, nil //nolint:nilnil // off
	}
	out := Hedge{Ratio: cmp.Or(h.Ratio, 0.05), Quantile: cmp.Or(h.Quantile, 0.95)}
	var faults []error
	for _, f := range [...]struct {
		name  string
		value float64
	}{{"Ratio", out.Ratio}, {"Quantile", out.Quantile}} {
		if !(f.value > 0 && f.value <= 1) {
			faults = append(faults, fmt.Errorf("proxy: Hedge.%s: %v is not above 0 and at most 1", f.name, f.value))
		}
	}
	return &out, fault.Join(faults...)
}

// race is a slow attempt and the hedge beside it.
type race struct {
	x     *call
	first *attempt
	timer *time.Timer
	after time.Duration // when the first one is slow
	over  chan struct{} // closed when the first one has ended
	done  chan struct{} // closed when the hedge has ended, or was not started

	mu     sync.Mutex
	second *attempt // nil: not started
	winner *attempt
	ended  bool           // the first one has ended, and did not win
	res    *http.Response // the hedge's, if it won
	panic  any            // the hedge's; set before done is closed
}

// make makes an attempt, with a hedge beside it if it is slow. It returns the one that counts.
func (x *call) make(t *attempt) (*attempt, *http.Response, error) {
	after, hedged := x.hedgeAfter(t)
	if !hedged {
		res, err := x.roundTrip(t)
		return t, res, err
	}
	r := &race{x: x, first: t, after: after, over: make(chan struct{}), done: make(chan struct{})}
	x.race = r
	r.timer = time.AfterFunc(after, r.hedge)
	res, err := r.runFirst()
	if r.timer.Stop() {
		x.race = nil
		return t, res, err
	}
	return r.end(res, err)
}

// hedgeAfter returns the time after which t is slow; false: t is not hedged.
func (x *call) hedgeAfter(t *attempt) (time.Duration, bool) {
	h := x.p.hedge
	if h == nil || t.Number() > 1 || x.upload != nil || x.upgrades || !x.p.retry.repeat(x.c.Request) || !x.wantsStream() {
		return 0, false
	}
	return x.pace().quantile(t.Began(), h.Quantile)
}

// runFirst makes the first attempt.
func (r *race) runFirst() (*http.Response, error) {
	defer close(r.over)
	return r.x.roundTrip(r.first)
}

// hasOthers reports whether the first attempt has left other endpoints. It waits until that one
// has chosen its endpoint, because on a busy machine it may not have when it is already slow.
func (r *race) hasOthers() bool {
	// The endpoint is asked first: the number of others is recorded before it.
	for wait := r.after; r.first.Endpoint() == "" && r.first.Others() == 0; wait *= 2 {
		select {
		case <-r.over:
			return false
		case <-time.After(wait):
		}
	}
	return r.first.Others() > 0
}

// spend takes the hedge from the budget. While that is low it waits until the first attempt is
// far slower: of those there are few, unless a server halts.
func (r *race) spend() bool {
	for late := 1; !r.x.p.hedges.spend(float64(late)); late *= 2 {
		select {
		case <-r.over:
			return false
		case <-time.After(time.Duration(late) * r.after):
		}
	}
	return true
}

// hedge makes the second attempt, on a goroutine of its own.
func (r *race) hedge() {
	defer close(r.done)
	defer func() { // nothing above this goroutine recovers
		if v := recover(); v != nil {
			r.panic = fmt.Sprintf("proxy: a hedge panicked: %v\n%s", v, debug.Stack())
		}
	}()
	if !r.hasOthers() {
		return
	}
	// A final exchange has used several versions: a hedge must not go back to the first.
	if r.x.x.Final() || !r.spend() || !r.x.hasTime(time.Now()) || !r.x.x.Spend() {
		return
	}
	t := r.x.beginHedge()
	if !r.begin(t) {
		t.release()
		return
	}
	res, err := r.roundTrip(t)
	if err == nil && r.x.isGood(t, res) && r.win(t) {
		r.res = res
		return
	}
	giveUp(res)
	t.release()
}

// isGood reports whether an attempt has a response to relay.
func (x *call) isGood(t *attempt, res *http.Response) bool {
	v := t.Latest().Verdict()
	return !x.p.retry.isFailure(v, res) && v.Outcome == exchange.Success
}

// roundTrip makes the call. It recovers: a panic on this goroutine would end the process.
func (r *race) roundTrip(t *attempt) (res *http.Response, err error) {
	defer func() {
		if v := recover(); v != nil {
			res, err = nil, fmt.Errorf("proxy: a hedge panicked: %v\n%s", v, debug.Stack())
		}
	}()
	return r.x.roundTrip(t)
}

// stop waits until the hedge has ended, since it uses the exchange. It closes a winning
// response that was not relayed because the first attempt panicked.
func (r *race) stop() {
	if r.timer.Stop() { // the first one panicked
		return
	}
	r.mu.Lock()
	if r.winner == nil { // the first one panicked, and no other must start
		r.winner = r.first
	}
	if r.second != nil && r.winner != r.second {
		r.second.cancel(ErrBeaten)
	}
	r.mu.Unlock()
	<-r.done
	if r.res != nil && r.x.attempt != r.second {
		r.second.cancel(ErrBeaten)
		_ = r.res.Body.Close()
		r.second.release()
	}
}

// begin records the hedge, unless the first attempt has won meanwhile.
func (r *race) begin(t *attempt) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.winner != nil {
		return false
	}
	r.second = t
	return true
}

// win reports whether t is the first to respond, and cancels the other attempt.
func (r *race) win(t *attempt) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.winner != nil {
		return false
	}
	r.winner = t
	switch {
	case t == r.second && !r.ended:
		r.first.cancel(ErrBeaten)
	case t == r.first && r.second != nil:
		r.second.cancel(ErrBeaten)
	}
	return true
}

// end takes the result of the first attempt, and returns the attempt that counts.
func (r *race) end(res *http.Response, err error) (*attempt, *http.Response, error) {
	if err == nil && r.x.isGood(r.first, res) && r.win(r.first) {
		return r.first, res, nil
	}
	beaten := r.lost()
	<-r.done
	if r.res == nil {
		return r.first, res, err
	}
	if beaten {
		r.x.recordPace(r.first, true) // it would have taken longer still
	}
	giveUp(res)
	r.first.release()
	r.x.attempt = r.second
	return r.second, r.res, nil
}

// lost reports whether the hedge won before the first attempt ended.
func (r *race) lost() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	return r.winner != nil
}

// wantsStream reports whether the request asks for a stream of events.
func (x *call) wantsStream() bool {
	return x.held.Request().Stream || llm.IsEventStream(x.c.Request.Header.Get("Accept"))
}

// pace returns the pace of the request's class; nil: unknown.
func (x *call) pace() *pace {
	return x.p.paces.find(paceKey{class: x.class, stream: x.wantsStream()})
}

// recordPace records how long an attempt took to respond.
func (x *call) recordPace(t *attempt, stream bool) {
	x.p.paces.of(paceKey{class: x.class, stream: stream}).add(time.Now(), time.Since(t.Began()))
}
