// Package redisstore keeps the buckets of package ratelimit in Redis, where the replicas of a
// gateway share them.
//
//	client := redis.NewUniversalClient(redisstore.Options("10.0.0.5:6379"))
//	store, err := redisstore.New(redisstore.Config{Client: client})
//	shared, err := ratelimit.NewShared(ratelimit.SharedConfig{Store: store, Replicas: 3})
//	limits, err := ratelimit.New(ratelimit.Config{Key: auth.Subject, Rate: 50, Store: shared})
//
// It works with a single server, Sentinel and Redis Cluster, version 5 or later; tested with
// 7.0. Every call is one script in one round trip, by the server's clock. On a cluster the
// buckets of one key are on the same node; among different keys, a refusal by one node is put
// back on the others in a second round trip, and no limit is exceeded meanwhile. Every key
// expires: a bucket is removed when it is full again. Budgets survive a restart as far as the
// server's data do: enable its append-only file, and disable eviction (maxmemory-policy
// noeviction).
//
// The reservations of a replica are kept under its own name. They return to the buckets when
// the replica has not renewed them for Config.Expiry, because it died.
//
// What happens on failure: every call fails within Config.Timeout, on a cluster within twice
// that, with [ratelimit.ErrUnavailable]; ratelimit.Shared decides what then applies. A call
// that failed may have taken tokens (closed). A server that lost its data has full buckets
// (open, for one burst). A clock of the server that is set forward fills buckets (open, for one
// burst); set back, buckets refill from the new time.
//
// [ratelimit.ErrUnavailable]: https://pkg.go.dev/github.com/ginfer/ginfer/ratelimit#ErrUnavailable
package redisstore
