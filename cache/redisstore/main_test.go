package redisstore_test

import (
	"context"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/cache"
	"github.com/ginfer/ginfer/cache/redisstore"
	"github.com/ginfer/ginfer/internal/testkit/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.TestMode)
	logging.Disable() // go-redis logs every server that is down
	// go-redis probes a server that is down until a second after Close.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
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

// patient returns a store with a long timeout, for a busy machine.
func patient(tb testing.TB, addrs ...string) *redisstore.Store {
	tb.Helper()
	o := redisstore.Options(addrs...)
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = patience, patience, patience, patience
	return newStore(tb, redisstore.Config{Client: open(tb, o), Timeout: patience})
}

// hasty returns a store with the default timeout of 50 ms.
func hasty(tb testing.TB, addrs ...string) *redisstore.Store {
	tb.Helper()
	return newStore(tb, redisstore.Config{Client: open(tb, redisstore.Options(addrs...))})
}

func addrs(servers []*redistest.Server) (out []string) {
	for _, s := range servers {
		out = append(out, s.Addr)
	}
	return out
}

func entry(body string) *cache.Entry {
	now := time.Now()
	return &cache.Entry{Status: 200, Body: []byte(body), RequestTime: now, ResponseTime: now, FreshUntil: now.Add(time.Minute), ExpiresAt: now.Add(time.Minute)}
}

// awaitStore waits until a store works again.
func awaitStore(tb testing.TB, s *redisstore.Store) {
	tb.Helper()
	redistest.Await(tb, "the store answers", func() error { return s.Delete(context.Background(), "x") })
}

// requireDown requires a quick error from each of several calls.
func requireDown(tb testing.TB, s *redisstore.Store) {
	tb.Helper()
	late := 0
	for range 20 {
		began := time.Now()
		_, err := s.Get(context.Background(), "k")
		took := time.Since(began)
		require.ErrorIs(tb, err, cache.ErrUnavailable)
		require.Less(tb, took, 2*time.Second)
		if took > 150*time.Millisecond {
			late++
		}
	}
	require.LessOrEqual(tb, late, 2, "a busy machine may delay a few")
	require.ErrorIs(tb, s.Set(context.Background(), "k", entry("1")), cache.ErrUnavailable)
	require.ErrorIs(tb, s.Delete(context.Background(), "k"), cache.ErrUnavailable)
	_, err := s.Purge(context.Background(), cache.Everything)
	require.ErrorIs(tb, err, cache.ErrUnavailable)
	_, err = s.Since(context.Background(), 0)
	require.ErrorIs(tb, err, cache.ErrUnavailable)
}
