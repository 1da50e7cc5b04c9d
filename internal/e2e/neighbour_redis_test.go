package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ginfer/ginfer/cache"
	cacheredis "github.com/ginfer/ginfer/cache/redisstore"
	"github.com/ginfer/ginfer/internal/testkit/redistest"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/ginfer/ginfer/ratelimit/redisstore"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// redisFault is a way in which a Redis does not serve writes, although it may respond to PING.
type redisFault struct {
	name    string
	options []string
	cluster bool
	begin   func(t *testing.T, s *redistest.Server)
	end     func(t *testing.T, s *redistest.Server)
	text    string // in the cause
}

// set sets options of a server.
func set(args ...string) func(*testing.T, *redistest.Server) {
	return func(_ *testing.T, s *redistest.Server) { s.MustDo(append([]string{"CONFIG", "SET"}, args...)...) }
}

// command runs a command.
func command(args ...string) func(*testing.T, *redistest.Server) {
	return func(_ *testing.T, s *redistest.Server) { s.MustDo(args...) }
}

// awaitInfo waits for a text in the reply of a command.
func awaitInfo(t *testing.T, s *redistest.Server, text string, args ...string) {
	t.Helper()
	redistest.Await(t, text, func() error {
		if info, err := s.Do(args...); !strings.Contains(info, text) {
			return fmt.Errorf("%s: %w", info, errors.Join(err, errors.New("not yet")))
		}
		return nil
	})
}

// dump is the server's snapshot, in place of which a directory makes it fail, as a full disk.
func dump(s *redistest.Server) string {
	_, dir, _ := strings.Cut(s.MustDo("CONFIG", "GET", "dir"), "\n")
	return filepath.Join(strings.TrimSpace(dir), "dump.rdb", "x")
}

func redisFaults() []redisFault {
	return []redisFault{
		{name: "full", begin: set("maxmemory", "1"), end: set("maxmemory", "0"), text: "OOM"},
		{name: "too few replicas", begin: set("min-replicas-to-write", "1"), end: set("min-replicas-to-write", "0"), text: "NOREPLICAS"},
		{name: "demoted to a replica", begin: func(t *testing.T, s *redistest.Server) {
			t.Helper()
			master := redistest.Start(t, "--repl-diskless-sync-delay", "0")
			host, port, _ := strings.Cut(master.Addr, ":")
			s.MustDo("REPLICAOF", host, port)
			awaitInfo(t, s, "master_link_status:up", "INFO", "replication")
		}, end: command("REPLICAOF", "NO", "ONE"), text: "READONLY"},
		{name: "its disk full", options: []string{"--save", "3600 1000000"}, begin: func(t *testing.T, s *redistest.Server) {
			t.Helper()
			require.NoError(t, os.MkdirAll(dump(s), 0o700))
			s.MustDo("BGSAVE")
			awaitInfo(t, s, "rdb_last_bgsave_status:err", "INFO", "persistence")
		}, end: func(t *testing.T, s *redistest.Server) {
			t.Helper()
			require.NoError(t, os.RemoveAll(filepath.Dir(dump(s))))
			s.MustDo("BGSAVE")
		}, text: "MISCONF"},
		{name: "a cluster without a slot", cluster: true, begin: func(t *testing.T, s *redistest.Server) {
			t.Helper()
			s.MustDo("CONFIG", "SET", "cluster-require-full-coverage", "yes")
			s.MustDo("CLUSTER", "DELSLOTS", "0")
			awaitInfo(t, s, "cluster_state:fail", "CLUSTER", "INFO")
		}, end: command("CLUSTER", "ADDSLOTS", "0"), text: "CLUSTERDOWN"},
		{name: "loading", options: []string{"--enable-debug-command", "yes"}, begin: func(t *testing.T, s *redistest.Server) {
			t.Helper()
			s.MustDo("DEBUG", "POPULATE", "100000", "key", "100")
			s.MustDo("CONFIG", "SET", "loading-process-events-interval-bytes", "1024")
			s.MustDo("CONFIG", "SET", "key-load-delay", "100")
			go func() { _, _ = s.Do("DEBUG", "RELOAD") }()
			redistest.Await(t, "it loads", func() error {
				if _, err := s.Do("PING"); err == nil || !strings.Contains(err.Error(), "LOADING") {
					return errors.New("not yet")
				}
				return nil
			})
		}, end: func(t *testing.T, s *redistest.Server) {
			t.Helper()
			awaitInfo(t, s, "OK", "CONFIG", "SET", "key-load-delay", "0")
		}, text: "LOADING"},
		{name: "frozen", begin: func(_ *testing.T, s *redistest.Server) { s.Freeze() }, end: func(_ *testing.T, s *redistest.Server) { s.Thaw() }},
		{name: "gone", begin: func(_ *testing.T, s *redistest.Server) { s.Kill() }, end: func(_ *testing.T, s *redistest.Server) { s.Restart() }, text: "connection refused"},
	}
}

// watched is a store that reports when it goes down and up.
type watched struct {
	use       func(ctx context.Context, i int)
	cause     func() error
	down, ups atomic.Int64
}

func watchedLimits(t *testing.T, client redis.UniversalClient) *watched {
	t.Helper()
	w := new(watched)
	store, err := redisstore.New(redisstore.Config{Client: client, Timeout: 500 * time.Millisecond})
	require.NoError(t, err)
	shared, err := ratelimit.NewShared(ratelimit.SharedConfig{Store: store, Replicas: 2, OnEvent: func(_ context.Context, e ratelimit.Event) {
		w.count(e.Kind == ratelimit.StoreDown, e.Kind == ratelimit.StoreUp)
	}})
	require.NoError(t, err)
	w.cause = shared.Down
	w.use = func(ctx context.Context, i int) {
		_ = shared.Take(ctx, []ratelimit.Charge{{Bucket: ratelimit.Bucket{Limit: "l", Key: strconv.Itoa(i % 3), Rate: 1000, Burst: 1000}, Cost: 1}})
	}
	return w
}

func watchedCache(t *testing.T, client redis.UniversalClient) *watched {
	t.Helper()
	w := new(watched)
	store, err := cacheredis.New(cacheredis.Config{Client: client, Timeout: 500 * time.Millisecond})
	require.NoError(t, err)
	tiered, err := cache.NewTiered(cache.TieredConfig{L2: store, Timeout: 150 * time.Millisecond, OnEvent: func(_ context.Context, e cache.Event) {
		w.count(e.Kind == cache.StoreDown, e.Kind == cache.StoreUp)
	}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = tiered.Drain(context.Background()) })
	w.cause = tiered.Down
	w.use = func(ctx context.Context, i int) {
		now, key := time.Now(), strconv.Itoa(i%3)
		_, _ = tiered.Get(ctx, key+"?")
		_ = tiered.Set(ctx, key, &cache.Entry{Status: 200, Body: []byte("x"), RequestTime: now, ResponseTime: now, FreshUntil: now.Add(time.Minute), ExpiresAt: now.Add(time.Minute)})
	}
	return w
}

func (w *watched) count(down, up bool) {
	if down {
		w.down.Add(1)
	}
	if up {
		w.ups.Add(1)
	}
}

// use uses stores for a time.
func use(t *testing.T, d time.Duration, all []*watched) {
	t.Helper()
	for i, end := 0, time.Now().Add(d); time.Now().Before(end); i++ {
		for _, w := range all {
			w.use(t.Context(), i)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// A Redis that does not write is down until it writes, and up again without a restart.
func TestNeighbourRedisThatDoesNotWrite(t *testing.T) {
	t.Parallel()
	for _, fault := range redisFaults() {
		t.Run(fault.name, func(t *testing.T) {
			t.Parallel()
			server, client := startFaulty(t, &fault)
			all := []*watched{watchedLimits(t, client), watchedCache(t, client)}
			use(t, 200*time.Millisecond, all)
			var before [2]int64
			for i, w := range all {
				require.NoError(t, w.cause())
				before[i] = w.ups.Load()
			}
			fault.begin(t, server)
			use(t, 2500*time.Millisecond, all)
			for i, w := range all {
				require.EqualValues(t, 1, w.down.Load()-before[i], "down once")
				require.Equal(t, before[i], w.ups.Load(), "it does not flap")
				require.ErrorContains(t, w.cause(), fault.text)
			}
			fault.end(t, server)
			for _, w := range all {
				redistest.Await(t, "it is up", func() error { w.use(t.Context(), 0); return w.cause() })
			}
			use(t, 500*time.Millisecond, all)
			for _, w := range all {
				require.NoError(t, w.cause(), "it stays up")
			}
		})
	}
}

func startFaulty(t *testing.T, fault *redisFault) (*redistest.Server, redis.UniversalClient) {
	t.Helper()
	var server *redistest.Server
	if fault.cluster {
		server = redistest.StartCluster(t, 1)[0]
	} else {
		server = redistest.Start(t, fault.options...)
	}
	options := redisstore.Options(server.Addr)
	options.IsClusterMode = fault.cluster
	options.DialTimeout, options.ReadTimeout, options.WriteTimeout, options.PoolTimeout = time.Second, time.Second, time.Second, time.Second
	client := redis.NewUniversalClient(options)
	t.Cleanup(func() { _ = client.Close() })
	return server, client
}
