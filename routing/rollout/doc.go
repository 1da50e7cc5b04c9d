// Package rollout releases a new version of a model step by step, and rolls it back as soon
// as measurements show that it is worse than the version before.
//
// A [Rollout] divides the weights of two routes of a routing table. The canary, which is the
// new version, begins with the first of [Config.Steps] and advances while it is no worse
// than the stable version in three checks: failures, latency, and quality as reported to
// [Judge]. Users are assigned by a hash, and no user loses the canary while its share grows.
//
//	r, err := rollout.New(rollout.Config{Model: "demo", Stable: "v1.2", Canary: "v1.3"})
//	router, err := routing.New(routing.Config{Rollouts: []*rollout.Rollout{r}, ...})
//	go r.Run(ctx)
//
// A [Store] keeps the progress across restarts and shares it between replicas:
// [NewFileStore] for one process, package redisstore for several.
//
// What happens on failure: while its store is down a rollout stays at its step, and is
// still rolled back by what its own replica measures. Until the store was read for the
// first time the canary gets no requests.
package rollout
