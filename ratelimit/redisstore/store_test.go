package redisstore_test

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ginfer/ginfer/internal/testkit/redistest"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/ginfer/ginfer/ratelimit/redisstore"
	"github.com/ginfer/ginfer/ratelimit/storetest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func TestStoreOnOneServer(t *testing.T) {
	server := redistest.Start(t)
	s := patient(t, server.Addr)
	storetest.Run(t, func(*testing.T) ratelimit.Store { return s })
	requireMortal(t, server)
}

// requireMortal requires an expiry of every key.
func requireMortal(t *testing.T, server *redistest.Server) {
	t.Helper()
	client := redis.NewClient(redisstore.Options(server.Addr).Simple())
	defer func() { _ = client.Close() }()
	ctx := context.Background()
	keys, err := client.Keys(ctx, "*").Result()
	require.NoError(t, err)
	require.NotEmpty(t, keys)
	for _, key := range keys {
		ttl, err := client.PTTL(ctx, key).Result()
		require.NoError(t, err)
		require.NotEqual(t, time.Duration(-1), ttl, "%.80q", key)
		require.LessOrEqual(t, ttl, 400*24*time.Hour, "%.80q", key)
	}
}

func TestTimeToLive(t *testing.T) {
	server := redistest.Start(t)
	s := newStore(t, redisstore.Config{Client: newClient(t, server.Addr), Timeout: patience, Expiry: time.Hour})
	ends := time.Now().Add(24 * time.Hour)
	for name, tt := range map[string]struct {
		charge ratelimit.Charge
		want   time.Duration
	}{
		"until it is full":          {ratelimit.Charge{Bucket: ratelimit.Bucket{Rate: 1, Burst: 600}, Cost: 300}, 301 * time.Second},
		"until its debt is paid":    {ratelimit.Charge{Bucket: ratelimit.Bucket{Rate: 1, Burst: 600}, Cost: 1200}, 1201 * time.Second},
		"until reservations end":    {ratelimit.Charge{Bucket: ratelimit.Bucket{Rate: 1, Burst: 600}, Cost: 1, Reserve: true}, 2*time.Hour + time.Second},
		"an hour after its period":  {ratelimit.Charge{Bucket: ratelimit.Bucket{Burst: 600, Ends: ends}, Cost: 1}, 25*time.Hour + time.Second},
		"400 days, if never full":   {ratelimit.Charge{Bucket: ratelimit.Bucket{Burst: 600}, Cost: 1}, 400 * 24 * time.Hour},
		"400 days, if full in 1000": {ratelimit.Charge{Bucket: ratelimit.Bucket{Rate: 1e-9, Burst: 600}, Cost: 1}, 400 * 24 * time.Hour},
	} {
		c := tt.charge
		c.Limit, c.Key = "ttl", name
		take(t, s, c)
		ms, err := strconv.ParseInt(server.MustDo("PTTL", s.Name(c.Bucket)), 10, 64)
		require.NoError(t, err)
		require.InDelta(t, tt.want.Seconds(), float64(ms)/1000, 30, name)
	}
	b := ratelimit.Bucket{Limit: "soon", Key: "full", Rate: 1000, Burst: 10}
	take(t, s, ratelimit.Charge{Bucket: b, Cost: 10})
	redistest.Await(t, "the bucket vanishes", func() error {
		if server.MustDo("EXISTS", s.Name(b)) == "1" {
			return context.DeadlineExceeded
		}
		return nil
	})
}

// A refusal writes nothing, so that it costs the server's log and replicas nothing.
func TestRefusalsWriteNothing(t *testing.T) {
	server := redistest.Start(t)
	s := patient(t, server.Addr)
	a, b := fixed("a", 1), fixed("b", 1)
	take(t, s, ratelimit.Charge{Bucket: a, Cost: 1})
	before := server.MustDo("HGETALL", s.Name(a))
	take(t, s, ratelimit.Charge{Bucket: a, Cost: 1}, ratelimit.Charge{Bucket: b, Cost: 1})
	require.Equal(t, before, server.MustDo("HGETALL", s.Name(a)))
	require.Equal(t, "0", server.MustDo("EXISTS", s.Name(b)))
}

// A clock that runs backwards, also by a failover, mints no tokens.
// A clock that runs backwards mints no tokens. Clocks of a server and its replica differ a little:
// then a bucket waits. After a jump it refills from the new time.
func TestClockRunsBackwards(t *testing.T) {
	server := redistest.Start(t)
	s := patient(t, server.Addr)
	for name, tt := range map[string]struct{ back, wait time.Duration }{
		"a little": {800 * time.Millisecond, 800 * time.Millisecond},
		"a jump":   {time.Hour, 0},
	} {
		b := ratelimit.Bucket{Limit: "clock", Key: name, Rate: 0.1, Burst: 10}
		take(t, s, ratelimit.Charge{Bucket: b, Cost: 10})
		ahead := time.Now().Add(tt.back).UnixMicro()
		server.MustDo("HSET", s.Name(b), "l", "3", "t", strconv.FormatInt(ahead, 10))
		for i := range 10 {
			got := take(t, s, ratelimit.Charge{Bucket: b, Cost: 1})[0]
			require.Equal(t, i < 3, got.Granted == 1, name)
			if i >= 3 {
				require.InDelta(t, tt.wait.Seconds()+10, got.Wait.Seconds(), 2, name)
			}
		}
		ms, err := strconv.Atoi(server.MustDo("PTTL", s.Name(b)))
		require.NoError(t, err)
		require.InDelta(t, (tt.wait + 101*time.Second).Milliseconds(), ms, 3000, "it does not expire before it is full")
	}
}

func TestReplicasShareABucketExactly(t *testing.T) {
	server := redistest.Start(t)
	replicas := []*redisstore.Store{patient(t, server.Addr), patient(t, server.Addr)}
	b := fixed("both", 1000)
	var got atomic.Int64
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			for range 40 {
				c := []ratelimit.Charge{reserve(b, 1)}
				if err := replicas[i%2].Take(context.Background(), c); err != nil {
					t.Error(err)
					return
				}
				got.Add(c[0].Granted)
			}
		})
	}
	wg.Wait()
	require.Equal(t, b.Burst, got.Load())

	other := newStore(t, redisstore.Config{Client: newClient(t, server.Addr), Timeout: patience, Prefix: "staging"})
	requireLevel(t, other, b, 1000)
}
