package e2e_test

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ginfer/ginfer/internal/testkit/need"
	"github.com/ginfer/ginfer/internal/testkit/redistest"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/ginfer/ginfer/ratelimit/redisstore"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sharedAt returns one replica's Shared at a Redis, with the gateway's own timeouts.
func sharedAt(tb testing.TB, addr string, replicas int, onEvent func(context.Context, ratelimit.Event)) *ratelimit.Shared {
	tb.Helper()
	client := redis.NewUniversalClient(redisstore.Options(addr))
	tb.Cleanup(func() { _ = client.Close() })
	store, err := redisstore.New(redisstore.Config{Client: client})
	require.NoError(tb, err)
	shared, err := ratelimit.NewShared(ratelimit.SharedConfig{Store: store, Replicas: replicas, OnEvent: onEvent})
	require.NoError(tb, err)
	return shared
}

// busy keeps every processor busy until the test ends.
func busy(tb testing.TB) {
	tb.Helper()
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for !stop.Load() {
			}
		})
	}
	tb.Cleanup(func() { stop.Store(true); wg.Wait() })
}

// granted lets eight replicas take all they can for a time, of one bucket, and returns what they
// got as a part of what the bucket has.
func granted(tb testing.TB, addr string, d time.Duration, reserve bool) float64 {
	tb.Helper()
	const rate, burst, replicas = 800, 800, 8
	b := ratelimit.Bucket{Limit: "l", Key: strconv.FormatBool(reserve), Rate: rate, Burst: burst}
	var got atomic.Int64
	var wg sync.WaitGroup
	begin := time.Now()
	for range replicas {
		store := sharedAt(tb, addr, replicas, nil)
		for range 2 {
			wg.Go(func() {
				for ; time.Since(begin) < d; time.Sleep(5 * time.Millisecond) {
					got.Add(spendFive(tb.Context(), store, b, reserve))
				}
			})
		}
	}
	wg.Wait()
	return float64(got.Load()) / (burst + rate*time.Since(begin).Seconds())
}

// spendFive takes five tokens, and settles them if they were reserved. It returns what was granted.
func spendFive(ctx context.Context, store *ratelimit.Shared, b ratelimit.Bucket, reserve bool) int64 {
	c := []ratelimit.Charge{{Bucket: b, Cost: 5, Reserve: reserve}}
	if store.Take(ctx, c) != nil || c[0].Granted == 0 {
		return 0
	}
	if reserve {
		_ = store.Settle(ctx, []ratelimit.Settlement{{Bucket: b, Reserved: 5, Spent: 5}})
	}
	return c[0].Granted
}

// Eight replicas on a busy machine, where calls take longer than 50 ms now and then, do not
// give more than one would.
func TestNeighbourBusyReplicas(t *testing.T) {
	server := redistest.Start(t)
	// Beside other tests a replica may be cut off at the end: its share of that second, an eighth
	// of the rate, is booked after the measurement.
	runs, most := 1, 1.1
	if os.Getenv("GINFER_NEIGHBOURS") == "1" {
		runs, most = 20, 1.01
	}
	busy(t)
	for i := range runs {
		for _, reserve := range []bool{false, true} {
			server.MustDo("FLUSHALL")
			part := granted(t, server.Addr, 3*time.Second, reserve)
			t.Logf("run %d, reserved %v: %.3f of the limit", i, reserve, part)
			assert.LessOrEqual(t, part, most)
		}
	}
}

// fakeTime starts a Redis with a clock that set moves.
func fakeTime(t *testing.T) (server *redistest.Server, set func(offset string)) {
	t.Helper()
	path, err := exec.LookPath("faketime")
	if err != nil {
		need.Missing(t, "GINFER_REQUIRE_FAKETIME", "faketime is not installed")
	}
	file := t.TempDir() + "/offset"
	set = func(offset string) { require.NoError(t, os.WriteFile(file, []byte(offset), 0o600)) }
	set("+0")
	library, err := exec.CommandContext(t.Context(), path, "-f", "+0", "sh", "-c", "echo $LD_PRELOAD").Output()
	require.NoError(t, err)
	// With jemalloc, which reads the clock at its start, the library recurses.
	t.Setenv("LD_PRELOAD", strings.TrimSpace(string(library))+":libc.so.6")
	t.Setenv("FAKETIME_TIMESTAMP_FILE", file)
	t.Setenv("FAKETIME_NO_CACHE", "1")
	t.Setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
	server = redistest.Start(t)
	require.NoError(t, os.Unsetenv("LD_PRELOAD"))
	return server, set
}

// A clock of Redis that jumps an hour neither refuses for an hour nor gives an hour's worth.
func TestNeighbourRedisClockJumps(t *testing.T) {
	for _, jump := range []string{"+3600", "-3600"} {
		t.Run(jump, func(t *testing.T) {
			server, set := fakeTime(t)
			store := sharedAt(t, server.Addr, 1, nil)
			b := ratelimit.Bucket{Limit: "l", Key: "k", Rate: 50, Burst: 100}
			take := func(d time.Duration) (got int64) {
				for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
					c := []ratelimit.Charge{{Bucket: b, Cost: 1}}
					require.NoError(t, store.Take(t.Context(), c))
					got += c[0].Granted
				}
				return got
			}
			take(2 * time.Second)
			set(jump)
			begin := time.Now()
			got := take(4 * time.Second)
			limit := 50*time.Since(begin).Seconds() + 100
			assert.LessOrEqual(t, float64(got), limit, "no more than a burst beyond the rate")
			assert.Greater(t, float64(got), 25*time.Since(begin).Seconds(), "it goes on")
		})
	}
}
