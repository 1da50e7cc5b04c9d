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

// next returns the first target, from an index on, that meets the needs; -1: none.
func next(chain []Target, from int, n needs) int {
	for i := from; i < len(chain); i++ {
		if chain[i].Capabilities.lacks(n) == "" {
			return i
		}
	}
	return -1
}

// walk calls the targets that meet the request's needs in order, until one succeeds. Each
// call is an attempt of its own.
func (t transport) walk(req *http.Request, d *Decision) (*http.Response, error) {
	n := d.needs.of(req)
	i := next(d.chain, 0, n)
	a, req := exchange.Start(req)
	if i < 0 { // the first one's own error is the most precise
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

// skipped reports the targets that lack a capability. Without a declared one that is missing,
// it is the context: another upstream reported that the request is too long.
func (t transport) skipped(req *http.Request, d *Decision, from, to int, n needs) {
	for _, target := range d.chain[from:to] {
		t.router.notify(req.Context(), Event{Kind: Skipped, Model: d.Model, Version: target.Version, Lacks: cmp.Or(target.Capabilities.lacks(n), lacksContext)})
	}
}

// leave ends the attempt at target i for a later target. The proxy must make no further
// attempt, which would walk the chain again.
func (t transport) leave(a *exchange.Attempt, req *http.Request, d *Decision, i, to int, res *http.Response, err error) {
	last := a.Latest()
	a.Exchange().Finalize()
	e := Event{Kind: FellBack, Model: d.Model, Version: d.chain[to].Version, From: d.chain[i].Version, Err: err}
	switch {
	case res != nil:
		if e.Status = res.StatusCode; e.Status < http.StatusBadRequest {
			e.Err = last.Verdict().Err
		}
		_ = res.Body.Close() // the rest may never arrive
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

// following returns the target to call after i; -1: none. There is none after a client
// disconnect, beyond the proxy's retry budget, and while the proxy would make another
// attempt at another endpoint of the same target. The same endpoint is not called again: the
// next target is more likely to succeed. A hedge has none: the other attempt may still
// succeed. following adds to n what the attempt showed of the request's needs.
func following(a *exchange.Attempt, chain []Target, i int, n *needs, err error) int {
	last := a.Latest()
	if err == nil {
		last.Prefetch()
	}
	v := last.Verdict()
	if exchange.IsRefused(err) { // the attempt continues at another target
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
	if !exchange.IsRefused(err) && x.Spend != nil && !x.Spend() { // the budget counts calls, not refusals
		return -1
	}
	return to
}

// candidate returns the target that may succeed where i failed; -1: none.
func candidate(last *exchange.Attempt, v exchange.Verdict, chain []Target, i int, n *needs, err error) int {
	switch {
	case err == nil && v.Blame == exchange.Request && last.Kind() == llm.ContextLength:
		return roomier(chain, i, n)
	case v.Repeatable, v.Elsewhere, v.Bad() && err != nil, v.Blame == exchange.Gateway, isBusy(err):
		return next(chain, i+1, *n)
	}
	return -1
}

// roomier returns the next target with a larger context than i. The upstream of i reported
// that the request is too long: its count is more exact than the gateway's.
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

// isBusy reports whether a layer below refused the request by a limit.
func isBusy(err error) bool {
	own, ok := errors.AsType[*apierror.Error](err)
	return ok && own.Status == http.StatusTooManyRequests
}
