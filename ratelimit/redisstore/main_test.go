package redisstore_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ginfer/ginfer/internal/testkit/redistest"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/ginfer/ginfer/ratelimit/redisstore"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	logging.Disable() // go-redis logs every server that is down
	// go-redis dials a server that is down until a second after Close.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

// newClient returns a client with timeouts for a busy machine.
func newClient(tb testing.TB, addrs ...string) redis.UniversalClient {
	tb.Helper()
	o := redisstore.Options(addrs...)
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = patience, patience, patience, patience
	return open(tb, o)
}

const patience = 10 * time.Second

func open(tb testing.TB, o *redis.UniversalOptions) redis.UniversalClient {
	tb.Helper()
	client := redis.NewUniversalClient(o)
	tb.Cleanup(func() { require.NoError(tb, client.Close()) })
	return client
}

func newStore(tb testing.TB, cfg redisstore.Config) *redisstore.Store {
	tb.Helper()
	s, err := redisstore.New(cfg)
	require.NoError(tb, err)
	return s
}

// patient returns a store with timeouts for a busy machine.
func patient(tb testing.TB, addrs ...string) *redisstore.Store {
	tb.Helper()
	return newStore(tb, redisstore.Config{Client: newClient(tb, addrs...), Timeout: patience})
}

func addrs(servers []*redistest.Server) (out []string) {
	for _, s := range servers {
		out = append(out, s.Addr)
	}
	return out
}

// fixed returns a bucket that does not fill during a test.
func fixed(key string, burst int64) ratelimit.Bucket {
	return ratelimit.Bucket{Limit: "fixed", Key: key, Rate: 1e-6, Burst: burst}
}

func reserve(b ratelimit.Bucket, cost int64) ratelimit.Charge {
	return ratelimit.Charge{Bucket: b, Cost: cost, Reserve: true}
}

func take(tb testing.TB, s *redisstore.Store, charges ...ratelimit.Charge) []ratelimit.Charge {
	tb.Helper()
	require.NoError(tb, s.Take(context.Background(), charges))
	return charges
}

func settle(tb testing.TB, s *redisstore.Store, settlements ...ratelimit.Settlement) {
	tb.Helper()
	require.NoError(tb, s.Settle(context.Background(), settlements))
}

// level returns the level of a bucket, by a charge that is never granted.
func level(tb testing.TB, s *redisstore.Store, b ratelimit.Bucket) float64 {
	tb.Helper()
	empty := ratelimit.Bucket{Limit: "empty", Key: b.Key, Burst: 1}
	settle(tb, s, ratelimit.Settlement{Bucket: empty, Spent: 1})
	return take(tb, s, ratelimit.Charge{Bucket: b, Cost: 1}, ratelimit.Charge{Bucket: empty, Cost: 1})[0].Left
}

func requireLevel(tb testing.TB, s *redisstore.Store, b ratelimit.Bucket, want float64) {
	tb.Helper()
	require.InDelta(tb, want, level(tb, s, b), 1e-2)
}

// try takes one token, and returns the error of the store.
func try(s *redisstore.Store, b ratelimit.Bucket) error {
	return s.Take(context.Background(), []ratelimit.Charge{{Bucket: b, Cost: 1}})
}

// awaitUp waits until a store is up.
func awaitUp(tb testing.TB, s *redisstore.Store, b ratelimit.Bucket) {
	tb.Helper()
	redistest.Await(tb, "the store is up", func() error { return try(s, b) })
}

// requireDown requires repeated quick errors.
func requireDown(tb testing.TB, s *redisstore.Store, b ratelimit.Bucket) {
	tb.Helper()
	late := 0
	for range 20 {
		began := time.Now()
		err := try(s, b)
		took := time.Since(began)
		require.ErrorIs(tb, err, ratelimit.ErrUnavailable)
		require.Less(tb, took, 2*time.Second)
		if took > 150*time.Millisecond {
			late++
		}
	}
	require.LessOrEqual(tb, late, 2, "a busy machine may delay a few")
	err := s.Settle(context.Background(), []ratelimit.Settlement{{Bucket: b, Spent: 1}})
	require.ErrorIs(tb, err, ratelimit.ErrUnavailable)
	require.ErrorIs(tb, s.Take(context.Background(), nil), ratelimit.ErrUnavailable)
}

// slot returns the first key on the wanted node of a cluster.
func slot(tb testing.TB, nodes []*redistest.Server, node int) string {
	tb.Helper()
	for _, tag := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i"} {
		if _, err := nodes[node].Do("GET", "{"+tag+"}"); err == nil {
			return tag
		}
	}
	tb.Fatal(errors.New("no key for the node"))
	return ""
}
