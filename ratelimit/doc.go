// Package ratelimit says how much a caller may have: of requests, of tokens, of
// budgets, and of concurrency.
//
//	limits, err := ratelimit.New(ratelimit.Config{Key: auth.Subject, Rate: 50, Burst: 100})
//	tokens, err := ratelimit.NewTokens(ratelimit.TokensConfig{Limits: []ratelimit.Limit{
//		{Name: "tpm", Key: auth.Tenant, Rate: ratelimit.Per(100_000, time.Minute)},
//		{Name: "month", Key: auth.Tenant, Budget: 50_000_000, Period: ratelimit.Month},
//	}})
//	r.POST("/v1/chat/completions", authn.Middleware(), limits.Middleware(), tokens.Middleware(), gateway.Handler())
//
// A [Limiter] counts requests in token buckets. A [Tokens] reserves what a request
// to a language model is likely to cost, by what its API says is text, and settles what
// its attempts took in fact, also when a stream breaks or its client leaves: attempts that
// delivered nothing, and calls that generate nothing, cost nothing. An [Adaptive] bounds how many requests
// are under way by how fast first tokens come. Each is a Gin middleware.
//
// In the chain they come after auth, whose [auth.Subject] and [auth.Tenant] are keys,
// and before everything that costs something.
//
// A limit that is new can stand in the shadow first (Config.Shadow): it tells whom it would
// refuse.
//
// Buckets are kept in a [Store]: in [Memory], or in Redis by package redisstore, where
// replicas share them, behind a [Shared] that goes on in an outage. Request limits borrow from a shared store ahead of need, so
// that few requests wait for it, and never more is let in than the limits say.
//
// What happens on failure: a request without a key is refused (closed), and so is every
// request when a store does not answer. Behind a [Shared] this replica's share of each
// limit holds instead, or nobody is refused (open), as its config says; it comes back
// by itself. A panic frees what was reserved.
//
// [auth.Subject]: https://pkg.go.dev/github.com/ginfer/ginfer/auth#Subject
// [auth.Tenant]: https://pkg.go.dev/github.com/ginfer/ginfer/auth#Tenant
package ratelimit
