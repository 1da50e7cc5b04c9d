// Package redisstore keeps the progress of rollouts of package routing in Redis, so that
// the replicas of a gateway are at the same step, and after a restart too.
//
//	client := redis.NewUniversalClient(redisstore.Options("10.0.0.5:6379"))
//	store, err := redisstore.New(redisstore.Config{Client: client})
//	rollout, err := routing.NewRollout(routing.RolloutConfig{Store: store, Replicas: 2, ...})
//
// A server of version 5 or later, Sentinels, and a cluster will do. A rollout is one small
// key without a time to live. When the server forgets it (maxmemory-policy allkeys-…, or a
// failover), a gateway that runs writes it again; only one that starts before that begins
// at the first step.
//
// What happens on failure: a call fails within Config.Timeout. A rollout that was
// restored stays at its step, and is still rolled back by what its own replica sees; one
// that was not gives its canary nothing.
package redisstore
