package redisstore_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/ginfer/ginfer/cache"
	"github.com/ginfer/ginfer/cache/redisstore"
	"github.com/ginfer/ginfer/cache/storetest"
	"github.com/ginfer/ginfer/internal/testkit/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func TestStore(t *testing.T) {
	server := redistest.Start(t)
	s := patient(t, server.Addr)
	storetest.Run(t, func(*testing.T) cache.Store { return s })
	requireMortal(t, server)
}

func TestTieredOverRedis(t *testing.T) {
	server := redistest.Start(t)
	storetest.Run(t, func(t *testing.T) cache.Store {
		t.Helper()
		tiers, err := cache.NewTiered(cache.TieredConfig{L2: patient(t, server.Addr), Timeout: 150 * time.Millisecond})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, tiers.Drain(context.Background())) })
		return tiers
	})
}

func TestPurges(t *testing.T) {
	server := redistest.Start(t)
	storetest.RunPurges(t, func(t *testing.T) (here, there cache.Purges) {
		t.Helper()
		return patient(t, server.Addr), patient(t, server.Addr)
	})
	requireMortal(t, server)
}

func TestClaims(t *testing.T) {
	server := redistest.Start(t)
	storetest.RunClaims(t, func(t *testing.T) (here, there cache.Claims) {
		t.Helper()
		return patient(t, server.Addr), patient(t, server.Addr)
	})
	requireMortal(t, server)
}

func TestOnACluster(t *testing.T) {
	nodes := redistest.StartCluster(t, 3) // takes seconds
	storetest.Run(t, func(t *testing.T) cache.Store { t.Helper(); return patient(t, addrs(nodes)...) })
	storetest.RunPurges(t, func(t *testing.T) (here, there cache.Purges) {
		t.Helper()
		return patient(t, addrs(nodes)...), patient(t, addrs(nodes)...)
	})
	storetest.RunClaims(t, func(t *testing.T) (here, there cache.Claims) {
		t.Helper()
		return patient(t, addrs(nodes)...), patient(t, addrs(nodes)...)
	})
	for _, node := range nodes {
		requireMortal(t, node)
	}
}

// requireMortal requires that every key has a time to live.
func requireMortal(t *testing.T, server *redistest.Server) {
	t.Helper()
	for key := range strings.SplitSeq(server.MustDo("KEYS", "*"), "\n") {
		if left, err := server.Do("TTL", key); err == nil { // else a part of a key with a line end
			require.NotEqual(t, "-1", left, key)
		}
	}
}

func TestLargeEntriesAreNotStored(t *testing.T) {
	server := redistest.Start(t)
	s := newStore(t, redisstore.Config{Client: open(t, redisstore.Options(server.Addr)), MaxBytes: 100, Timeout: patience})
	require.NoError(t, s.Set(t.Context(), "k", entry(strings.Repeat("x", 100))))
	_, err := s.Get(t.Context(), "k")
	require.ErrorIs(t, err, cache.ErrNotFound)
}

func TestEntriesOfAnotherVersion(t *testing.T) {
	server := redistest.Start(t)
	s := patient(t, server.Addr)
	server.MustDo("SET", "ginfer:cache:k", "\xffnonsense", "PX", "60000")
	_, err := s.Get(t.Context(), "k")
	require.ErrorIs(t, err, cache.ErrNotFound)
}

func TestPrefixes(t *testing.T) {
	server := redistest.Start(t)
	a := newStore(t, redisstore.Config{Client: open(t, redisstore.Options(server.Addr)), Timeout: patience, Prefix: "a"})
	b := newStore(t, redisstore.Config{Client: open(t, redisstore.Options(server.Addr)), Timeout: patience, Prefix: "b"})
	require.NoError(t, a.Set(t.Context(), "k", entry("1")))
	_, err := b.Get(t.Context(), "k")
	require.ErrorIs(t, err, cache.ErrNotFound)
}

// The clock of a replica may be wrong: the time to live on the server counts.
func TestClocksNeedNotAgree(t *testing.T) {
	server := redistest.Start(t)
	s := patient(t, server.Addr)
	e := entry("1")
	require.NoError(t, s.Set(t.Context(), "k", e))
	server.MustDo("PEXPIRE", "ginfer:cache:k", "30000") // as if half a minute later
	got, err := s.Get(t.Context(), "k")
	require.NoError(t, err)
	require.WithinDuration(t, time.Now().Add(30*time.Second), got.FreshUntil, 2*time.Second)
	require.WithinDuration(t, time.Now().Add(-30*time.Second), got.ResponseTime, 2*time.Second)
}

func TestFailures(t *testing.T) {
	t.Run("killed and back", func(t *testing.T) {
		server := redistest.Start(t)
		s := hasty(t, server.Addr)
		awaitStore(t, s)
		server.Kill()
		requireDown(t, s)
		server.Restart()
		awaitStore(t, s)
	})
	t.Run("frozen and back", func(t *testing.T) {
		server := redistest.Start(t)
		s := hasty(t, server.Addr)
		awaitStore(t, s)
		server.Freeze()
		requireDown(t, s)
		server.Thaw()
		awaitStore(t, s)
	})
	t.Run("never there", func(t *testing.T) { requireDown(t, hasty(t, "127.0.0.1:1")) })
	t.Run("watching", func(t *testing.T) {
		server := redistest.Start(t)
		s := patient(t, server.Addr)
		listening, done := make(chan struct{}), make(chan error, 1)
		go func() { done <- s.Watch(context.Background(), func(cache.Purge) { close(listening) }) }()
		<-listening
		server.Kill()
		require.ErrorIs(t, <-done, cache.ErrUnavailable)
	})
}

func TestConfigFaults(t *testing.T) {
	good := open(t, redisstore.Options("127.0.0.1:1"))
	deaf := redisstore.Options("127.0.0.1:1")
	deaf.ContextTimeoutEnabled = false
	deafCluster := redisstore.Options("127.0.0.1:1", "127.0.0.1:2")
	deafCluster.ContextTimeoutEnabled = false
	ring := redis.NewRing(&redis.RingOptions{ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = ring.Close() })
	for want, cfg := range map[string]redisstore.Config{
		"Config.Client is required":          {},
		"needs ContextTimeoutEnabled: true":  {Client: open(t, deaf)},
		"needs ContextTimeoutEnabled":        {Client: open(t, deafCluster)},
		"a *redis.Ring won't do":             {Client: ring},
		"Config.Timeout is negative":         {Client: good, Timeout: -1},
		"Config.MaxBytes is negative":        {Client: good, MaxBytes: -1},
		"Config.Prefix must not have braces": {Client: good, Prefix: "a{b"},
	} {
		_, err := redisstore.New(cfg)
		require.ErrorContains(t, err, want)
	}
	_, err := redisstore.New(redisstore.Config{Timeout: -1, Prefix: "}"})
	for _, want := range []string{"Client", "Timeout", "Prefix"} {
		require.ErrorContains(t, err, want, "all faults at once")
	}
}
