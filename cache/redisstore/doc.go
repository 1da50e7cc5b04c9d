// Package redisstore keeps the entries of package cache in Redis, where replicas of a
// gateway share them, and tells replicas of each other's purges.
//
//	client := redis.NewUniversalClient(redisstore.Options("10.0.0.5:6379"))
//	store, err := redisstore.New(redisstore.Config{Client: client})
//	tiers, err := cache.NewTiered(cache.TieredConfig{L2: store})
//	responses, err := cache.New(cache.Config{Store: tiers, Purges: store})
//	go responses.Run(ctx)
//
// A server of version 5 or later, Sentinels, and a cluster will do; tested with 7.0. A
// lookup is one round trip. Every key has a time to live. Let the server evict what is
// old (maxmemory-policy allkeys-lfu), but then give the purges a server of their own, or
// a purge may be forgotten, and what it purged live on until its time.
//
// What happens on failure: every call fails within Config.Timeout with
// [cache.ErrUnavailable], which is a miss to a request. Behind a cache.Tiered only one
// request waits for that; the others do without.
//
// [cache.ErrUnavailable]: https://pkg.go.dev/github.com/ginfer/ginfer/cache#ErrUnavailable
package redisstore
