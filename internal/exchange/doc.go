// Package exchange models one client request and the attempts made for it, with one body and one
// verdict per attempt. Every layer that counts or repeats attempts uses it instead of judging
// responses itself.
//
// An [Exchange] is one client request; an [Attempt] is one upstream call. Both travel in the
// context of the outbound request, so that a pool in a plain http.Client works like one behind
// the proxy. A layer (an http.RoundTripper of this module) does this:
//
//	a, req := exchange.Start(req)        // the attempt in progress, or a new one
//	res, err := a.Do(req, next)          // owns the error, the panic and the body
//	if exchange.IsRefused(err) {         // nothing was sent: no attempt was made
//		return nil, err
//	}
//	a.OnContent(func(at time.Time) { … })
//	a.OnEnd(func(e *exchange.End) { … })
//	return res, err
//
// The innermost Do wraps the response's body, once. Hooks run once each, outside locks, in the
// order of their registration: layers register after Do, so the inner one comes first. A hook
// that is registered too late runs at once, with the recorded times.
//
// An attempt ends at the first of: an error of Do, the end of the body or an error of reading
// it, its Close, a panic, the end of the request's context. An [End] never changes. A single
// function, judge (judge.go), decides its outcome, its blame and whether it may be repeated;
// each layer maps that to its own action.
//
// What happens on failure: an error or a panic of a layer below becomes the attempt's verdict and
// is passed on (closed). A hook that panics keeps no other hook from running.
package exchange
