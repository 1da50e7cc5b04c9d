package redisstore_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ginfer/ginfer/internal/testkit/redistest"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/ginfer/ginfer/ratelimit/redisstore"
	"github.com/stretchr/testify/require"
)

// hasty returns a store with the default timeout of 50 ms.
func hasty(t *testing.T, addrs ...string) *redisstore.Store {
	t.Helper()
	return newStore(t, redisstore.Config{Client: open(t, redisstore.Options(addrs...))})
}

func TestKilledServerComesBack(t *testing.T) {
	for name, tt := range map[string]struct {
		options []string
		left    float64
	}{
		"without its data": {nil, 100},
		"with its data":    {[]string{"--appendonly", "yes", "--appendfsync", "always"}, 60},
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t, tt.options...)
			s, b, other := hasty(t, server.Addr), fixed("k", 100), fixed("other", 1_000_000)
			awaitUp(t, s, other)
			take(t, patient(t, server.Addr), reserve(b, 40))
			server.Kill()
			requireDown(t, s, other)
			server.Restart()
			awaitUp(t, s, other)
			requireLevel(t, patient(t, server.Addr), b, tt.left)
		})
	}
}

func TestMissingServer(t *testing.T) {
	requireDown(t, hasty(t, "127.0.0.1:1"), fixed("k", 1))
}

func TestFrozenServer(t *testing.T) {
	server := redistest.Start(t)
	s, b := hasty(t, server.Addr), fixed("k", 1_000_000)
	awaitUp(t, s, b)
	server.Freeze()
	requireDown(t, s, b)
	server.Thaw()
	awaitUp(t, s, b)
}

func TestCanceledCall(t *testing.T) {
	server := redistest.Start(t)
	s, b := patient(t, server.Addr), fixed("k", 10)
	awaitUp(t, s, b)
	server.Freeze()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := s.Take(ctx, []ratelimit.Charge{{Bucket: b, Cost: 1}})
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, ratelimit.ErrUnavailable)
	server.Thaw()
}

// spend takes one and settles it.
func spend(s *redisstore.Store, b ratelimit.Bucket) (granted int64, err error) {
	c := []ratelimit.Charge{reserve(b, 1)}
	if err := s.Take(context.Background(), c); err != nil {
		return 0, err
	}
	n := c[0].Granted
	return n, s.Settle(context.Background(), []ratelimit.Settlement{{Bucket: b, Reserved: n, Spent: n}})
}

// A server that lost its scripts, by restart or by command, loads them again.
func TestFlushUnderTraffic(t *testing.T) {
	server := redistest.Start(t)
	s, b := patient(t, server.Addr), fixed("k", 100)
	const flushes = 20
	var got atomic.Int64
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 16 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				n, err := spend(s, b)
				got.Add(n)
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range flushes {
		server.MustDo("SCRIPT", "FLUSH")
		server.MustDo("FLUSHALL")
	}
	close(stop)
	wg.Wait()
	require.LessOrEqual(t, got.Load(), (flushes+1)*b.Burst)
	require.Positive(t, got.Load())
}

func TestSentinelFailover(t *testing.T) {
	master := redistest.Start(t)
	replica := redistest.StartReplica(t, master)
	sentinel := redistest.StartSentinel(t, "main", master, 1)
	o := redisstore.Options(sentinel.Addr)
	o.MasterName = "main"
	s, b := newStore(t, redisstore.Config{Client: open(t, o)}), fixed("k", 1_000_000)
	awaitUp(t, s, b)
	settle(t, patient(t, master.Addr), ratelimit.Settlement{Bucket: b, Spent: 1000})
	redistest.Await(t, "the replica has it", func() error {
		if replica.MustDo("HGETALL", s.Name(b)) != master.MustDo("HGETALL", s.Name(b)) {
			return errors.New("not yet")
		}
		return nil
	})
	master.Kill()
	requireDown(t, s, b)
	awaitUp(t, s, b)
	require.InDelta(t, 1_000_000-1000, level(t, patient(t, replica.Addr), b), 200, "the replica has the data")
}
