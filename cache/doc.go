// Package cache stores responses and coalesces concurrent requests: inference by the
// meaning of its request, GET by RFC 9111.
//
//	responses, err := cache.New(cache.Config{Scope: auth.Tenant})
//	r.POST("/v1/chat/completions", authn.Middleware(), limits.Middleware(), responses.Middleware(), gateway.Handler())
//
// Requests to a model have the same response if they are equal after normalization
// (RFC 8785) in every member that matters, and have the same model, version, path and
// tenant. A request with an unknown member bypasses the cache. A response is stored if it
// is whole and its request has temperature 0 or opts in. One that was recorded as a stream
// is also served as JSON, and vice versa. See [LLM] and [HTTP] for the details;
// [Idempotency] replays the response to the same Idempotency-Key.
//
// Identical concurrent requests are one call of the upstream, also streams: later clients
// get the beginning at once. The call ends when all clients have disconnected, not when
// the first one has. A client that reads too slowly is dropped alone.
//
// Entries are kept in a [Store]: in [Memory], in Redis by package redisstore, or in both by
// [Tiered]. [Cache.Purge] makes the entries of a model, a version, a tenant or a key
// unreachable at once, and [Cache.Run] applies the purges of other replicas.
//
// In the chain it comes after auth, routing and limits, as it needs their decisions, and
// before stream.Middleware and the proxy. The handlers after it run for one request on
// behalf of many: their response must not depend on what only this client has, such as a
// cookie. Their writer cannot be hijacked, and their context ends when no client is left.
// A refresh in the background runs the last handler alone; see Config.Background.
//
// A hit, and a coalesced request, costs no tokens: ratelimit.Tokens in front charges nothing.
// A refresh in the background is charged to the caller that began it.
//
// On failure: a request without a known tenant is not cached (closed). While a store is
// down every lookup is a miss (open), and behind a [Tiered] only one request waits for it,
// for 50 ms. A leader that fails before its first byte is replaced once; those that
// followed both get 503, or the response of the second. A panic in a handler is its
// leader's, and does not reach the followers.
package cache
