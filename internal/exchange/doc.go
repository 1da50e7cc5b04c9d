// Package exchange is what happens to one client request: the attempts made for it, one
// body per attempt, and one verdict on how each ended.
//
// An [Exchange] is one client request; an [Attempt] is one upstream call. Both travel in
// the context of the outbound request, so that a pool in a plain http.Client works as one
// behind the proxy does. A layer (an http.RoundTripper of ours) does this:
//
//	a, req := exchange.Start(req)        // the attempt under way, or a new one
//	res, err := a.Do(req, next)          // owns the error, the panic and the body
//	if exchange.IsRefused(err) {         // nothing was sent: no attempt was made
//		return nil, err
//	}
//	a.OnContent(func(at time.Time) { … })
//	a.OnEnd(func(e *exchange.End) { … })
//	return res, err
//
// The innermost Do wraps the response's body, once: it reads, scans and ends once, whatever
// others wrap around it. Hooks run once each, outside locks, in the order in which they were
// registered: layers register after Do, so the inner one comes first. A hook that is
// registered after the fact runs at once, with the recorded times.
//
// An attempt ends at the first of: an error of Do, the end of the body or an error of
// reading it, its Close, a panic, the end of the request's context. Nothing amends an
// [End]. One function, judge, decides its outcome, its blame and whether it may be
// repeated; what a layer makes of that is a line in the layer.
package exchange
