// Package balance spreads requests over the endpoints of an upstream. A [Pool]
// is an http.RoundTripper: behind a proxy.Proxy, or in a plain http.Client.
//
//	pool, err := balance.New(balance.Config{Endpoints: []balance.Endpoint{{URL: "http://10.0.0.1:8000"}, {URL: "http://10.0.0.2:8000"}}})
//	go pool.Run(ctx) // health checks and outlier sweeps
//	client := &http.Client{Transport: pool}
//
// An attempt counts as in flight until its response has ended, so that load means streams
// under way, not requests responded to. Its outcome is counted once, then: a failure is
// what the endpoint is to blame for, as errors of the connection, status 500 and above,
// and responses that break off. A client that left, status 4xx, a spent quota or a panic
// of the gateway's are neither failure nor success.
//
// A 429 or 503 with Retry-After, a spent quota and an operator's credential that was
// refused keep the same credential and model from the endpoint for that long, up to a
// minute, while there is another one. They say nothing to other callers, and with nowhere
// else to go the request passes.
//
// [TokenRate] follows the pace of the endpoints' streams, [PrefixAffinity] keeps chats where
// their prefix is cached; the default, [LeastRequest], suits any traffic.
//
// What happens on failure: an endpoint that fails is avoided (success rate),
// then ejected (outliers, not for one caller's failures alone while others are served), or
// found sick (active checks). When more than half are out, health no longer counts and all
// are used (open). A pool without any
// endpoint fails at once with [ErrNoEndpoint] (closed).
//
// The pool makes one attempt per RoundTrip. More are the proxy's; a further one goes to an
// endpoint that the exchange has not used. Endpoints that refuse before anything was sent,
// as open circuits do, cost no attempt; when all do, each is asked once more as the last
// resort.
package balance
