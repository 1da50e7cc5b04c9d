package redisstore_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ginfer/ginfer/internal/testkit/redistest"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/ginfer/ginfer/ratelimit/storetest"
	"github.com/stretchr/testify/require"
)

func TestStoreOnACluster(t *testing.T) {
	nodes := redistest.StartCluster(t, 3) // takes seconds
	t.Run("conforms", func(t *testing.T) {
		s := patient(t, addrs(nodes)...)
		storetest.Run(t, func(*testing.T) ratelimit.Store { return s })
		for _, node := range nodes {
			requireMortal(t, node)
		}
	})
	t.Run("never exceeds a limit", func(t *testing.T) { neverPasses(t, nodes) })
	t.Run("loads its scripts again", func(t *testing.T) { scriptsFlushed(t, nodes) })
	t.Run("one node is frozen", func(t *testing.T) { nodeFrozen(t, nodes) })
}

// neverPasses checks buckets of different keys, which are on different nodes of a cluster.
// After the refusal of one node the others put back, and no limit is exceeded meanwhile.
func neverPasses(t *testing.T, nodes []*redistest.Server) {
	t.Helper()
	s := patient(t, addrs(nodes)...)
	shared := fixed(slot(t, nodes, 0), 300)
	small := []ratelimit.Bucket{fixed(slot(t, nodes, 1), 100), fixed(slot(t, nodes, 2), 100)}
	var got [2]atomic.Int64
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			for range 20 {
				c := []ratelimit.Charge{reserve(shared, 1), {Bucket: small[i%2], Cost: 1}}
				if err := s.Take(context.Background(), c); err != nil {
					t.Error(err)
					return
				}
				got[i%2].Add(c[0].Granted)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 100, got[0].Load())
	require.EqualValues(t, 100, got[1].Load())
	requireLevel(t, s, shared, 100)
	holds := 0
	for field := range strings.SplitSeq(nodes[0].MustDo("HKEYS", s.Name(shared)), "\n") {
		if strings.HasPrefix(field, "h:") {
			holds++
			require.Regexp(t, "^200 ", nodes[0].MustDo("HGET", s.Name(shared), field))
		}
	}
	require.Equal(t, 1, holds)
}

func scriptsFlushed(t *testing.T, nodes []*redistest.Server) {
	t.Helper()
	s := patient(t, addrs(nodes)...)
	var charges []ratelimit.Charge
	for i := range nodes {
		charges = append(charges, reserve(ratelimit.Bucket{Limit: "flushed", Key: slot(t, nodes, i), Burst: 100}, 10))
	}
	take(t, s, charges...)
	nodes[0].MustDo("SCRIPT", "FLUSH")
	nodes[2].MustDo("SCRIPT", "FLUSH")
	take(t, s, charges...)
	for _, c := range charges {
		requireLevel(t, s, c.Bucket, 80)
	}
}

func nodeFrozen(t *testing.T, nodes []*redistest.Server) {
	t.Helper()
	s, calm := hasty(t, addrs(nodes)...), patient(t, addrs(nodes)...)
	alive := ratelimit.Bucket{Limit: "alive", Key: slot(t, nodes, 0), Burst: 100}
	dead := ratelimit.Bucket{Limit: "dead", Key: slot(t, nodes, 1), Burst: 1_000_000}
	awaitUp(t, s, dead)
	awaitUp(t, calm, dead)
	nodes[1].Freeze()
	requireDown(t, s, dead)
	err := s.Take(context.Background(), []ratelimit.Charge{reserve(alive, 10), reserve(dead, 10)})
	require.ErrorIs(t, err, ratelimit.ErrUnavailable)
	requireLevel(t, calm, alive, 100) // it was put back
	nodes[1].Thaw()
	awaitUp(t, s, dead)
	redistest.Await(t, "all nodes are up", func() error { return s.Take(context.Background(), nil) })
}
