// Package ratelimit limits the requests, tokens, budgets and concurrency of callers.
//
//	limits, err := ratelimit.New(ratelimit.Config{Key: auth.Subject, Rate: 50, Burst: 100})
//	tokens, err := ratelimit.NewTokens(ratelimit.TokensConfig{Limits: []ratelimit.Limit{
//		{Name: "tpm", Key: auth.Tenant, Rate: ratelimit.Per(100_000, time.Minute)},
//		{Name: "month", Key: auth.Tenant, Budget: 50_000_000, Period: ratelimit.Month},
//	}})
//	r.POST("/v1/chat/completions", authn.Middleware(), limits.Middleware(), tokens.Middleware(), gateway.Handler())
//
// A [Limiter] limits requests with token buckets. A [Tokens] limits the tokens of language
// models: it reserves the estimated cost of a request, and settles the usage of its attempts,
// also after a broken stream or a client disconnect. Attempts that delivered nothing, and
// calls that generate nothing, cost nothing. An [Adaptive] limits concurrency by the time to
// the first token. Each is a Gin middleware.
//
// In the chain they come after auth, for the keys [auth.Subject] and [auth.Tenant], and
// before everything that is expensive.
//
// A new limit can run in shadow mode first (Config.Shadow, a dry run): it reports the
// requests that it would refuse.
//
// A [Store] keeps the buckets: [Memory], or Redis by package redisstore, where replicas share
// them, behind a [Shared] that bridges outages. Request limits lease tokens from a shared
// store in advance, so that few requests wait for it; the limits are never exceeded.
//
// What happens on failure: a request without a key is refused (closed), and so is every
// request while a store is down. Behind a [Shared] the local share of each limit applies
// instead, or no request is refused (open), by its config; it recovers by itself. A panic
// releases the reservation.
//
// [auth.Subject]: https://pkg.go.dev/github.com/ginfer/ginfer/auth#Subject
// [auth.Tenant]: https://pkg.go.dev/github.com/ginfer/ginfer/auth#Tenant
package ratelimit
