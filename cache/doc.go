// Package cache answers requests that were answered before, and merges those that are
// being answered: inference by what it asks for, GET by RFC 9111.
//
//	responses, err := cache.New(cache.Config{Scope: auth.Tenant})
//	r.POST("/v1/chat/completions", authn.Middleware(), limits.Middleware(), responses.Middleware(), gateway.Handler())
//
// A request to a model has the same answer if it is the same after normalization
// (RFC 8785) in every member that matters, of the same model, version, path and tenant;
// a member that is not known makes it pass. Its answer is kept if it was asked for with
// temperature 0, or so told, and only if it is whole. One that was recorded as a stream
// is told as JSON too, and the other way round. [LLM] and [HTTP] say more; [Idempotency]
// replays what was answered to the same Idempotency-Key.
//
// Identical requests at the same time are one call of the upstream, also streams: those
// who come later get the beginning at once. The call does not end when its first client
// leaves, but when all have. A client that reads too slowly is dropped alone.
//
// Entries are in a [Store]: in [Memory], in Redis by package redisstore, or in both by
// [Tiered]. [Cache.Purge] makes the entries of a model, a version, a tenant or a key
// unreachable at once, and [Cache.Run] those of other replicas.
//
// In the chain it comes after auth, routing and limits, whose decisions it depends on,
// and before stream.Middleware and the proxy. What comes after it runs for one request
// on behalf of many: it must not answer by what is only this client's, such as a cookie.
// Handlers after it see a writer that can't be hijacked, and a context that ends when no
// client is left. A refresh in the background runs the last handler alone; see
// Config.Background.
//
// A hit costs no tokens. Tell the limit so:
//
//	OnEvent: func(ctx context.Context, e cache.Event) {
//		if e.Kind == cache.Hit || e.Kind == cache.Coalesced {
//			ratelimit.Report(ctx, 0, 0)
//		}
//	},
//
// What happens on failure: a request whose tenant nobody knows is not cached (closed). A
// store that does not answer has nothing: the upstream is asked (open), and behind a
// [Tiered] only one request waits for that, for 50 ms. A leader that fails before its
// first byte is replaced once; who followed both gets 503, or the answer of the second.
// A panic in a handler is its leader's, and those that follow are not told of it.
package cache
