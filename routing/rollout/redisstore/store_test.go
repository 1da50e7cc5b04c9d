package redisstore_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/ginfer/ginfer/internal/testkit/redistest"
	"github.com/ginfer/ginfer/routing"
	"github.com/ginfer/ginfer/routing/rollout"
	"github.com/ginfer/ginfer/routing/rollout/redisstore"
	"github.com/ginfer/ginfer/routing/rollout/storetest"
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

// open returns a store with timeouts for a busy machine.
func open(tb testing.TB, addrs ...string) *redisstore.Store {
	tb.Helper()
	o := redisstore.Options(addrs...)
	const timeout = 10 * time.Second
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = timeout, timeout, timeout, timeout
	client := redis.NewUniversalClient(o)
	tb.Cleanup(func() { require.NoError(tb, client.Close()) })
	s, err := redisstore.New(redisstore.Config{Client: client, Timeout: timeout})
	require.NoError(tb, err)
	return s
}

func TestStore(t *testing.T) {
	s := open(t, redistest.Start(t).Addr)
	storetest.Run(t, func(*testing.T) rollout.Store { return s })
}

func TestStoreOnACluster(t *testing.T) {
	var addrs []string
	for _, node := range redistest.StartCluster(t, 3) {
		addrs = append(addrs, node.Addr)
	}
	s := open(t, addrs...)
	storetest.Run(t, func(*testing.T) rollout.Store { return s })
}

func TestStoreIsDown(t *testing.T) {
	server := redistest.Start(t)
	client := redis.NewUniversalClient(redisstore.Options(server.Addr))
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	s, err := redisstore.New(redisstore.Config{Client: client})
	require.NoError(t, err)
	r, err := rollout.New(rollout.Config{Stable: "a", Canary: "b", Store: s})
	require.NoError(t, err)
	server.Kill()
	require.Error(t, r.Restore(t.Context()))
	require.Zero(t, r.Status().Share)
	server.Restart()
	redistest.Await(t, "the rollout is restored", func() error { return r.Restore(context.Background()) })
	require.InDelta(t, 0.01, r.Status().Share, 0)
	server.MustDo("HSET", "ginfer:rollout:x", "revision", "1", "progress", "{")
	_, err = open(t, server.Addr).Load(t.Context(), "x")
	require.ErrorContains(t, err, "redisstore: ")
}

// Two gateways with one server are at the same step: the second follows the first.
func TestReplicas(t *testing.T) {
	server := redistest.Start(t)
	replica := func() *rollout.Rollout {
		r, err := rollout.New(rollout.Config{Stable: "a", Canary: "b", Store: open(t, server.Addr), Replicas: 2, Interval: 10 * time.Millisecond})
		require.NoError(t, err)
		up := map[string]http.RoundTripper{"a": http.DefaultTransport, "b": http.DefaultTransport}
		text := `{"routes":[{"version":"a","weight":1},{"version":"b","weight":1}]}`
		table, err := routing.ParseTable([]byte(text))
		require.NoError(t, err)
		_, err = routing.New(routing.Config{Table: table, Upstreams: up, Rollouts: []*rollout.Rollout{r}})
		require.NoError(t, err)
		require.NoError(t, r.Restore(t.Context()))
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()
		t.Cleanup(func() {
			cancel()
			require.NoError(t, <-done)
		})
		return r
	}
	one, two := replica(), replica()
	follows := func(want rollout.State, share float64) {
		t.Helper()
		require.Eventually(t, func() bool {
			s := two.Status()
			return s.State == want && s.Share == share
		}, 20*time.Second, 10*time.Millisecond)
	}
	require.NoError(t, one.Promote(t.Context()))
	follows(rollout.Running, 0.05)
	require.NoError(t, one.RollBack(t.Context()))
	follows(rollout.RolledBack, 0)
}

func TestConfig(t *testing.T) {
	t.Parallel()
	_, err := redisstore.New(redisstore.Config{Prefix: "{a}", Timeout: -1})
	for _, part := range []string{"Client is required", "Prefix", "Timeout"} {
		require.ErrorContains(t, err, part)
	}
}
