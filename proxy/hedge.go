package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/llm"
)

// ErrBeaten is the cause of an attempt that was given up because another was faster.
var ErrBeaten = exchange.ErrBeaten

// Hedge says when a second try is begun beside a first one that is slow to begin its
// answer. The one whose first content comes first is relayed; the other is cancelled.
// Only requests for streams are hedged: of a whole answer nothing is known before it
// is done. They must be such as [Retry].Repeat lets be sent twice, and another
// endpoint must be there. A hedge also takes its part of the budget for extra tries.
// Source: Dean and Barroso, The Tail at Scale, 2013.
type Hedge struct {
	// Ratio is how many hedges there may be per request. Default 0.05.
	Ratio float64
	// Quantile of the times to the first content in the last one to two minutes,
	// among requests of the same class, is when a try counts as slow. Until 20 are
	// known none does. Default 0.95.
	Quantile float64
}

// resolve fills in the defaults. Nil stays nil: off.
func (h *Hedge) resolve() (*Hedge, error) {
	if h == nil {
		return nil, nil //nolint:nilnil // off
	}
	out := Hedge{Ratio: orDefault(h.Ratio, 0.05), Quantile: orDefault(h.Quantile, 0.95)}
	var faults []error
	for _, f := range [...]struct {
		name  string
		value float64
	}{{"Ratio", out.Ratio}, {"Quantile", out.Quantile}} {
		if !(f.value > 0 && f.value <= 1) {
			faults = append(faults, fmt.Errorf("proxy: Hedge.%s: %v is not above 0 and at most 1", f.name, f.value))
		}
	}
	return &out, errors.Join(faults...)
}

// race is a slow try and the one beside it.
type race struct {
	x     *call
	first *attempt
	timer *time.Timer
	done  chan struct{} // closed when the second one ended, or was not begun

	mu     sync.Mutex
	second *attempt // nil: none was begun
	winner *attempt
	ended  bool           // the first one did, and did not win
	res    *http.Response // of the second, if it won
	panic  any            // of the second; set before done is closed
}

// make carries out a try, and another one beside it if that is slow. It returns
// the one that counts.
func (x *call) make(t *attempt) (*attempt, *http.Response, error) {
	after, hedged := x.hedgeAfter(t)
	if !hedged {
		res, err := x.roundTrip(t)
		return t, res, err
	}
	r := &race{x: x, first: t, done: make(chan struct{})}
	x.race = r
	r.timer = time.AfterFunc(after, r.hedge)
	res, err := x.roundTrip(t)
	if r.timer.Stop() {
		x.race = nil
		return t, res, err
	}
	return r.end(res, err)
}

// hedgeAfter is when t counts as slow; false when it is not hedged.
func (x *call) hedgeAfter(t *attempt) (time.Duration, bool) {
	h := x.p.hedge
	if h == nil || t.Number() > 1 || x.upload != nil || x.upgrade != "" || !x.p.retry.repeat(x.c.Request) || !x.wantsStream() {
		return 0, false
	}
	return x.pace().quantile(t.Began(), h.Quantile)
}

// hedge makes the second try, on a goroutine of its own.
func (r *race) hedge() {
	defer close(r.done)
	defer func() { // nobody above this goroutine recovers
		if v := recover(); v != nil {
			r.panic = fmt.Sprintf("proxy: a hedge panicked: %v\n%s", v, debug.Stack())
		}
	}()
	now := time.Now()
	// One that is the last has been to several versions: not once more to the first.
	if r.first.Others() == 0 || r.x.x.Final() || !r.x.hasTime(now) || !r.x.p.hedges.spend(now) || !r.x.x.Spend() {
		return
	}
	t := r.x.beginHedge()
	if !r.begin(t) {
		t.release()
		return
	}
	res, err := r.roundTrip(t)
	if err == nil && r.x.isWell(t, res) && r.win(t) {
		r.res = res
		return
	}
	giveUp(res)
	t.release()
}

// isWell reports whether an attempt has a response to relay.
func (x *call) isWell(t *attempt, res *http.Response) bool {
	v := t.Latest().Verdict()
	return !x.p.retry.isFailure(v, res) && v.Outcome == exchange.Success
}

// roundTrip makes the call. A panic here would end the process: nobody above recovers.
func (r *race) roundTrip(t *attempt) (res *http.Response, err error) {
	defer func() {
		if v := recover(); v != nil {
			res, err = nil, fmt.Errorf("proxy: a hedge panicked: %v\n%s", v, debug.Stack())
		}
	}()
	return r.x.roundTrip(t)
}

// stop waits until the second try has ended: it uses what is the exchange's. If that
// won, but the first one panicked over it, nobody else closes its answer.
func (r *race) stop() {
	if r.timer.Stop() { // the first one panicked
		return
	}
	r.mu.Lock()
	if r.winner == nil { // the first one panicked, and no other is to begin
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

// begin notes the second try, unless the first one has won meanwhile.
func (r *race) begin(t *attempt) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.winner != nil {
		return false
	}
	r.second = t
	return true
}

// win reports whether t is the first to have begun its answer. The other one, while
// it is under way, is cancelled.
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

// end takes how the first try ended, and says which one counts.
func (r *race) end(res *http.Response, err error) (*attempt, *http.Response, error) {
	if err == nil && r.x.isWell(r.first, res) && r.win(r.first) {
		return r.first, res, nil
	}
	beaten := r.lost()
	<-r.done
	if r.res == nil {
		return r.first, res, err
	}
	if beaten {
		r.x.took(r.first, true) // it would have taken longer still
	}
	giveUp(res)
	r.first.release()
	r.x.attempt = r.second
	return r.second, r.res, nil
}

// lost reports whether the second try won before the first one ended.
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

// pace is that of requests like this one; nil if none was answered.
func (x *call) pace() *pace {
	return x.p.paces.find(paceKey{class: x.class, stream: x.wantsStream()})
}

// took remembers how long a try took to begin its answer.
func (x *call) took(t *attempt, stream bool) {
	x.p.paces.of(paceKey{class: x.class, stream: stream}).add(time.Now(), time.Since(t.Began()))
}
