// Package proxy relays requests to an upstream, streams included, over any
// http.RoundTripper: one server, or a balance.Pool of many.
//
//	transport, err := proxy.NewTransport(proxy.TransportConfig{})
//	p, err := proxy.New(proxy.Config{Transport: transport, Target: target})
//	router.Any("/v1/*path", p.Handler())
//
// The handler stands last in the chain, behind whatever decides that the
// request may pass; what those found out (a verified identity, an upstream's
// key) goes into the outbound request by Config.Rewrite, where no client can
// remove or double it.
//
// A response is relayed as it comes: each event of a stream at once, bodies and
// their encoding byte for byte, trailers and 1xx responses included. What a limit of
// the gateway says of itself (RateLimit, x-ratelimit-*) stands; all else is the
// upstream's. Request bodies are read first, within the bound and the budget of
// [Bodies], so that they can be sent again; longer ones are streamed. WebSocket
// upgrades pass; see [Proxy.Drain].
//
// Each attempt gets one verdict when it ends, by what the response says in the words
// of its API: how it went, whose fault that was, and whether another one may do better.
// The response to a request with a body is read ahead until a stream has content, or
// JSON its end, so that a 200 which turns into an error, silence or nothing can be
// replaced too.
//
// What happens on failure depends on how far the response has gone:
//
//   - nothing of it is with the client: the attempt is repeated if another one may do
//     better and that is safe (see [Retry]), within a budget over all requests.
//     Otherwise the client gets the last response as it is when that says what was
//     wrong, else 502, or 504 for a passed limit (see [Timeouts]). What an upstream
//     says of the operator's own credential stays inside: 502;
//   - it has begun: the client sees it break, never a clean end. In an event
//     stream, between two events, an error event comes first;
//   - the client leaves: the upstream is stopped, and it is no endpoint's failure;
//   - the client's body breaks: 400 or 408, and the connection is closed, so that
//     what follows on it is never taken for a request.
//
// A stream whose first content is late can be overtaken by a second attempt ([Hedge]).
// A client says how long it waits by X-Request-Timeout or Grpc-Timeout; an attempt that
// can't respond in time is not begun.
//
// A RoundTripper of your own, in Config.Transport or below it, may say by [Report] how an
// attempt ended and whose fault that was.
//
// All errors go through Config.ErrorHandler and match one of the Err variables.
package proxy
