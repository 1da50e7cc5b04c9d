// Package redisstore keeps the progress of rollouts in Redis, so that all replicas of a
// gateway are at the same step, also after a restart.
//
//	client := redis.NewUniversalClient(redisstore.Options("10.0.0.5:6379"))
//	store, err := redisstore.New(redisstore.Config{Client: client})
//	r, err := rollout.New(rollout.Config{Store: store, Replicas: 2, ...})
//
// It works with a single server, Sentinel and Redis Cluster, version 5 or later. A rollout
// is one small key without expiry. When the server loses it (maxmemory-policy allkeys-…, or
// a failover), a running gateway writes it again; only a gateway that starts before that
// begins at the first step.
//
// What happens on failure: a call fails within Config.Timeout. A restored rollout stays at
// its step, and is still rolled back by what its own replica measures. One that was not
// restored gives its canary no requests.
package redisstore
