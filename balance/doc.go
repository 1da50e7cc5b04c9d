// Package balance provides client-side load balancing over the endpoints of an upstream. A
// [Pool] is an http.RoundTripper: use it behind a proxy.Proxy, or in a plain http.Client.
//
//	pool, err := balance.New(balance.Config{Endpoints: []balance.Endpoint{{URL: "http://10.0.0.1:8000"}, {URL: "http://10.0.0.2:8000"}}})
//	go pool.Run(ctx) // health checks and outlier sweeps
//	client := &http.Client{Transport: pool}
//
// An attempt is in flight until its response has ended, so that load means streams in progress,
// not requests with a response. Its outcome is counted then: a failure is what the endpoint is
// to blame for, such as errors of the connection, status 500 and above, and responses that
// break off. A client disconnect, status 4xx, a spent quota and a panic of the gateway are
// neither failure nor success.
//
// A 429 or 503 with Retry-After, a spent quota and a rejected credential of the operator start
// a cooldown of up to a minute: the endpoint is avoided for the same credential and model while
// there is another one. Other callers are not affected, and without another endpoint the
// request passes.
//
// The default policy, [LeastRequest], suits any traffic. [TokenRate] follows the pace of the
// endpoints' streams; [PrefixAffinity] keeps chats where their prefix is cached.
//
// What happens on failure: an endpoint that fails is avoided (success rate), then ejected
// (outlier detection; not for one caller's failures alone while others are served), or becomes
// unhealthy (active checks). When more than half of the endpoints are out, health is ignored
// and all are used (open). A pool without any endpoint fails at once with [ErrNoEndpoint]
// (closed).
//
// The pool makes one attempt per RoundTrip; the proxy makes further ones, each to an endpoint
// that the exchange has not used. An endpoint that refuses before anything was sent, as an open
// circuit does, costs no attempt; if all refuse, each is called once more as the last resort.
//
// To read the code, start at RoundTrip in roundtrip.go, then scan in leastrequest.go.
package balance
