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
	logging.Disable() // go-redis tells of every server that is down
	// go-redis looks for a server that is down until a second after Close.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

// newClient is a client for tests of a server that answers, be the machine busy or
// not.
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

// patient is a store on a server that answers.
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

// fixed is a bucket that does not fill while a test runs.
func fixed(key string, burst int64) ratelimit.Bucket {
	return ratelimit.Bucket{Limit: "fixed", Key: key, Rate: 1e-6, Burst: burst}
}

func held(b ratelimit.Bucket, cost int64) ratelimit.Charge {
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

// level is what a bucket holds: a charge that never can be paid says so.
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

// try takes one and reports whether the store answered.
func try(s *redisstore.Store, b ratelimit.Bucket) error {
	return s.Take(context.Background(), []ratelimit.Charge{{Bucket: b, Cost: 1}})
}

// awaitAnswer waits until a store answers again.
func awaitAnswer(tb testing.TB, s *redisstore.Store, b ratelimit.Bucket) {
	tb.Helper()
	redistest.Await(tb, "the store answers", func() error { return try(s, b) })
}

// requireDown asks for a quick refusal to answer, again and again.
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

// slot is the first key of a name that is on the wanted node of a cluster.
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
