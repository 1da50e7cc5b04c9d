// Package redisstore implements the store, the purges and the claims of package cache in
// Redis, for replicas of a gateway that share them.
//
//	client := redis.NewUniversalClient(redisstore.Options("10.0.0.5:6379"))
//	store, err := redisstore.New(redisstore.Config{Client: client})
//	tiers, err := cache.NewTiered(cache.TieredConfig{L2: store})
//	responses, err := cache.New(cache.Config{Store: tiers, Purges: store})
//	go responses.Run(ctx)
//
// It works with a server of version 5 or later, Sentinels, or a cluster; tested with 7.0. A
// lookup is one round trip. Every key has a time to live. The server may evict old keys
// (maxmemory-policy allkeys-lfu), but then keep the purges on a server of their own:
// otherwise a purge may be evicted, and its entries stay valid until they expire.
//
// On failure every call returns [cache.ErrUnavailable] within Config.Timeout, which is a
// miss for a request. Behind a cache.Tiered only one request waits for that.
//
// [cache.ErrUnavailable]: https://pkg.go.dev/github.com/ginfer/ginfer/cache#ErrUnavailable
package redisstore
