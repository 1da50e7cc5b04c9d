// Package proxy relays requests to an upstream, streams included, over any http.RoundTripper:
// to a single server, or to many by a balance.Pool. Use it instead of httputil.ReverseProxy for
// inference APIs, where retries must respect streams and a status of 200 may still turn into an
// error.
//
//	transport, err := proxy.NewTransport(proxy.TransportConfig{})
//	p, err := proxy.New(proxy.Config{Transport: transport, Target: target})
//	router.Any("/v1/*path", p.Handler())
//
// Place the handler last in the chain, behind every stage that may reject the request. Use
// Config.Rewrite to add a verified identity or an upstream's key to the outbound request, where no
// client can remove or duplicate it.
//
// Responses are relayed as they arrive: each event of a stream at once, bodies and their
// encoding byte for byte, with trailers and 1xx responses. Rate limit headers of the gateway
// (RateLimit, x-ratelimit-*) stay. So do headers for browsers that the application has set before,
// on a cached response too: all of Access-Control-* as one, Cross-Origin-*, Strict-Transport-Security,
// X-Frame-Options, Content-Security-Policy, X-Content-Type-Options, Referrer-Policy,
// Permissions-Policy and their older forms. Values of Vary, Set-Cookie, Link, Server-Timing, Via and
// Cache-Status are joined. All others are the upstream's. Request bodies are read
// first, within the limit and the budget of [Bodies], so that they can be sent again; longer
// ones are streamed. WebSocket upgrades pass; see [Proxy.Drain].
//
// Each attempt gets one verdict when it ends: its outcome, the blame, and whether another
// attempt may do better. The verdict follows the response's content in the format of its API. For
// that the response to a request with a body is buffered until a stream has content or JSON is
// complete, so that a 200 which turns into an error, silence or nothing can be retried as well.
//
// What happens on failure depends on the progress of the response:
//
//   - the client has received nothing: the attempt is retried if another one may do better and a
//     retry is safe (see [Retry]), within a budget over all requests. Otherwise the client receives
//     the last response if that describes the error, else 502, or 504 after a timeout (see
//     [Timeouts]). An upstream's error about the operator's credential is hidden behind a 502;
//   - the response has begun: it is cut, so that the client never sees a clean end. In an event
//     stream, between two events, an error event is sent first. This does not depend on other
//     middlewares; see [apierror.Cut];
//   - the client disconnects: the upstream request is canceled, and no endpoint is to blame;
//   - the client's body breaks off: 400 or 408, and the connection is closed, so that what follows
//     on it is never taken for a request.
//
// A stream with late first content can be overtaken by a second attempt ([Hedge]). A client
// limits its wait by X-Request-Timeout or Grpc-Timeout; an attempt that can't respond in time
// is not started.
//
// The transport of [NewTransport] replaces connections by age and number of requests, follows host
// names, uses the environment's forward proxy, and sends a request once more if its idle connection
// was just closed: see [TransportConfig].
//
// A RoundTripper of your own, in Config.Transport or below it, may override the verdict on its
// attempt with [Report].
//
// All errors go through Config.ErrorHandler and match one of the Err variables.
//
// To read the code, start at handle in proxy.go, then run in call.go (the loop of attempts) and
// relay in relay.go.
package proxy
