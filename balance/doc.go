// Package balance spreads requests over the endpoints of an upstream. A [Pool]
// is an http.RoundTripper: behind a proxy.Proxy, or in a plain http.Client.
//
//	pool, err := balance.New(balance.Config{Endpoints: []balance.Endpoint{{URL: "http://10.0.0.1:8000"}, {URL: "http://10.0.0.2:8000"}}})
//	go pool.Run(ctx) // health checks and outlier sweeps
//	client := &http.Client{Transport: pool}
//
// An exchange counts as in flight until its body has been read or closed, so
// that load means streams under way, not requests answered. Its outcome is
// counted once, when the body is closed: failed are transport errors, status
// 500 and above, and bodies that broke off; a client that left is neither
// failure nor success. A 429 or 503 with Retry-After rests the endpoint.
//
// [Cadence] follows the pace of the endpoints' streams, [Conversations] keeps chats where
// their prefix is cached; the default, [LeastRequest], suits any traffic.
//
// What happens on failure: an endpoint that fails is avoided (success rate),
// then ejected (outliers), or found sick (active checks). When more than half
// are out, health no longer counts and all are used (open). A pool without any
// endpoint fails at once with [ErrNoEndpoint] (closed).
//
// The pool makes one try per RoundTrip. Tries are the proxy's; below it, a
// repeated try goes to an endpoint that the exchange has not used.
package balance
