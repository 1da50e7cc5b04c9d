package routing

import (
	"cmp"
	"errors"
	"net/http"

	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/body"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/llm"
)

// next is the first target from one on that can do what a request needs; -1 if
// there is none.
func next(chain []Target, from int, n needs) int {
	for i := from; i < len(chain); i++ {
		if chain[i].Capabilities.lacks(n) == "" {
			return i
		}
	}
	return -1
}

// walk calls the targets that can do what the request needs, one after another, until one
// does not fail. Each call is an attempt of its own.
func (t transport) walk(req *http.Request, d *Decision) (*http.Response, error) {
	n := d.needs.of(req)
	i := next(d.chain, 0, n)
	a, req := exchange.Start(req)
	if i < 0 { // the first one's own error says best what is wrong
		return t.send(a, req, d, 0)
	}
	if a.Number() == 1 { // reported once, however many attempts the proxy makes
		t.skipped(req, d, 0, i, n)
	}
	again := body.Replay(req)
	for {
		if again == nil || next(d.chain, i+1, n) < 0 {
			return t.send(a, req, d, i)
		}
		a.SetPatience(d.chain[i].Patience)
		res, err := t.send(a, req.WithContext(exchange.WithAlternative(req.Context())), d, i)
		to := following(a, d.chain, i, &n, err)
		if to < 0 {
			return res, err
		}
		t.skipped(req, d, i+1, to, n)
		t.leave(a, req, d, i, to, res, err)
		whole, err := again()
		if err != nil {
			return nil, err
		}
		a, req = exchange.Start(req)
		if req.Body != nil {
			req.Body = whole
		}
		i = to
	}
}

// skipped reports the targets that are not called because they lack something: if nothing
// that is known, it is room that the upstream of another one found missing.
func (t transport) skipped(req *http.Request, d *Decision, from, to int, n needs) {
	for _, target := range d.chain[from:to] {
		t.router.notify(req.Context(), Event{Kind: Skipped, Model: d.Model, Version: target.Version, Lacks: cmp.Or(target.Capabilities.lacks(n), lacksContext)})
	}
}

// leave gives target i up for a later one, and ends its attempt. The proxy must not make
// another one after that: the request would go through the chain once more.
func (t transport) leave(a *exchange.Attempt, req *http.Request, d *Decision, i, to int, res *http.Response, err error) {
	last := a.Latest()
	a.Exchange().Finalize()
	e := Event{Kind: FellBack, Model: d.Model, Version: d.chain[to].Version, From: d.chain[i].Version, Err: err}
	switch {
	case res != nil:
		if e.Status = res.StatusCode; e.Status < http.StatusBadRequest {
			e.Err = last.Verdict().Err
		}
		_ = res.Body.Close() // what is left of it may never come
	case exchange.IsRefused(err) && last == a:
		a.Again()
	default:
		last.Finish(err)
		if v := last.Verdict(); v.Err != nil {
			e.Err = v.Err // why the context ended
		}
	}
	t.router.notify(req.Context(), e)
}

// following is the target to go on with after i; -1: none. That is so for a client that
// left, beyond the proxy's budget, and while the proxy would make another attempt at
// another endpoint of the same target. The same endpoint is not called again: the next
// target is more likely to succeed. A hedge never goes on: the attempt beside it may still
// be well. What the attempt showed of the request's needs goes into n.
func following(a *exchange.Attempt, chain []Target, i int, n *needs, err error) int {
	last := a.Latest()
	if err == nil {
		last.Prefetch()
	}
	v := last.Verdict()
	if exchange.IsRefused(err) { // the attempt goes on, at another target
		v = exchange.Verdict{Outcome: exchange.Failure, Repeatable: true, Unsent: true, Err: err}
	}
	if a.Hedge() || a.Gone() {
		return -1
	}
	to := candidate(last, v, chain, i, n, err)
	if to < 0 {
		return -1
	}
	x := a.Exchange()
	if last.Others() > 0 && x.Repeats != nil && x.Repeats(last, v) {
		return -1
	}
	if !exchange.IsRefused(err) && x.Spend != nil && !x.Spend() { // the budget is for calls, not for refusals
		return -1
	}
	return to
}

// candidate is the target that may do better than i; -1: none.
func candidate(last *exchange.Attempt, v exchange.Verdict, chain []Target, i int, n *needs, err error) int {
	switch {
	case err == nil && v.Blame == exchange.Request && last.Kind() == llm.ContextLength:
		return roomier(chain, i, n)
	case v.Repeatable, v.Elsewhere, v.Bad() && err != nil, v.Blame == exchange.Gateway, isBusy(err):
		return next(chain, i+1, *n)
	}
	return -1
}

// roomier is the next target that holds more tokens than i, of which the upstream says
// that the request is too long for it: it counts better than the gateway does.
func roomier(chain []Target, i int, n *needs) int {
	room := chain[i].Capabilities.room()
	n.tokens = max(n.tokens, room+1)
	for to := next(chain, i+1, *n); to >= 0; to = next(chain, to+1, *n) {
		if chain[to].Capabilities.room() != room {
			return to
		}
	}
	return -1
}

// isBusy reports whether a layer below has no room for the request.
func isBusy(err error) bool {
	own, ok := errors.AsType[*apierror.Error](err)
	return ok && own.Status == http.StatusTooManyRequests
}
