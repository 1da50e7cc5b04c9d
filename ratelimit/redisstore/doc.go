// Package redisstore keeps the buckets of package ratelimit in Redis, where
// replicas of a gateway share them.
//
//	client := redis.NewUniversalClient(redisstore.Options("10.0.0.5:6379"))
//	store, err := redisstore.New(redisstore.Config{Client: client})
//	shared, err := ratelimit.NewShared(ratelimit.SharedConfig{Store: store, Replicas: 3})
//	limits, err := ratelimit.New(ratelimit.Config{Key: auth.Subject, Rate: 50, Store: shared})
//
// A server of version 5 or later, Sentinels, and a cluster will do; tested with 7.0.
// Every call is one script and one round trip, and goes by the server's clock. On a
// cluster the buckets of one key are together; among different keys, what one node
// refuses is put back on the others, in a second round trip, and no limit is passed
// meanwhile. Every key has a time to live: a bucket vanishes when it is full again.
// Budgets survive a restart as far as the server's data do: switch its append-only
// file on, and let it evict nothing (maxmemory-policy noeviction).
//
// What a replica holds for requests under way is on an account of its own; when it is
// not heard of for Config.Expiry, because it died, it returns to the buckets.
//
// What happens on failure: every call fails within Config.Timeout, on a cluster within
// twice that, with [ratelimit.ErrUnavailable]; what then holds is for ratelimit.Shared
// to say. A call that failed may have taken (closed). A server that lost its data has
// full buckets (open, for one burst).
//
// [ratelimit.ErrUnavailable]: https://pkg.go.dev/github.com/ginfer/ginfer/ratelimit#ErrUnavailable
package redisstore
