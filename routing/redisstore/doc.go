// Package redisstore keeps the progress of rollouts of package routing in Redis, so that
// the replicas of a gateway are at the same step, and after a restart too.
//
//	client := redis.NewUniversalClient(redisstore.Options("10.0.0.5:6379"))
//	store, err := redisstore.New(redisstore.Config{Client: client})
//	rollout, err := routing.NewRollout(routing.RolloutConfig{Store: store, Replicas: 2, ...})
//
// A server of version 5 or later, Sentinels, and a cluster will do. A rollout is one small
// key without a time to live: a server that evicts keys (maxmemory-policy allkeys-…) may
// forget it, and the rollout then begins anew at the step it is at.
//
// What happens on failure: a call fails within Config.Timeout. A rollout that was
// restored goes on by what its own replica sees; one that was not gives its canary nothing.
package redisstore
