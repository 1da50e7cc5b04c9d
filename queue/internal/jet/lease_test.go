package jet_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ginfer/ginfer/queue/internal/jet"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A delivery stays with its worker while its lease is extended, and no longer.
func TestLeases(t *testing.T) {
	t.Parallel()
	s, _, _ := open(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	leases := s.NewLeases()
	var running sync.WaitGroup
	running.Go(func() { leases.Run(ctx) })
	defer running.Wait()
	defer cancel()
	require.NoError(t, s.Tasks.Publish(ctx, ann, "1", nil))
	require.NoError(t, s.Tasks.Publish(ctx, ann, "2", nil))
	mine, other := fetch(t, s, ann), fetch(t, s, ann)
	leases.Add(mine)
	leases.Add(other)
	leases.Remove(other)
	again := fetch(t, s, ann) // after the lease of the other
	assert.Equal(t, 2, again.Attempt)
	assert.Equal(t, other.Published, again.Published)
	leases.Add(again)
	end := time.NewTimer(2 * s.Lease())
	defer end.Stop()
	tick := time.NewTicker(s.Lease() / 5)
	defer tick.Stop()
	for done := false; !done; {
		select {
		case <-tick.C:
			all, err := s.Tasks.Fetch(ctx, ann, 2)
			require.NoError(t, err)
			require.Empty(t, all)
		case <-end.C:
			done = true
		}
	}
	require.NoError(t, mine.Ack(ctx))
	require.NoError(t, again.Ack(ctx))
	require.Eventually(t, func() bool {
		lanes, err := s.Tasks.Lanes(ctx)
		return err == nil && len(lanes) == 0
	}, 5*time.Second, time.Millisecond)
}

// Receive works on as many messages at once as it may, keeps their leases, and waits for
// them at its end.
func TestReceive(t *testing.T) {
	t.Parallel()
	s, _, _ := open(t, t.TempDir())
	for i := range 6 {
		require.NoError(t, s.Channels.Send(t.Context(), jet.Hooks, "ann", strconv.Itoa(i), fmt.Append(nil, i)))
	}
	ctx, cancel := context.WithCancel(t.Context())
	leases := s.NewLeases()
	began, step := make(chan string, 10), make(chan struct{})
	var now, most, redelivered atomic.Int64
	var loops sync.WaitGroup
	work, end := context.WithCancel(t.Context())
	loops.Go(func() { leases.Run(work) })
	loops.Go(func() {
		defer end()
		s.Channels.Receive(ctx, jet.Hooks, leases, 2, func(d *jet.Delivery) {
			n := now.Add(1)
			for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
			}
			if d.Attempt > 1 {
				redelivered.Add(1)
			}
			text, _ := d.Payload(ctx)
			began <- string(text)
			<-step
			if d.AckSync(context.WithoutCancel(ctx)) != nil {
				redelivered.Add(1)
			}
			now.Add(-1)
		})
	})
	seen := map[string]bool{}
	for range 6 {
		seen[<-began] = true
		step <- struct{}{}
	}
	assert.Len(t, seen, 6)
	assert.EqualValues(t, 2, most.Load())
	assert.Zero(t, redelivered.Load())

	require.NoError(t, s.Channels.Send(t.Context(), jet.Hooks, "ann", "last", []byte("last")))
	assert.Equal(t, "last", <-began)
	cancel()
	step <- struct{}{} // Receive waits for it
	loops.Wait()
	n, err := s.Channels.Count(t.Context(), jet.Hooks, "ann")
	require.NoError(t, err)
	assert.Zero(t, n)
}

// A payload of any size arrives, by Ack and by AckSync, and leaves nothing behind.
func TestPayloads(t *testing.T) {
	t.Parallel()
	s, _, _ := open(t, t.TempDir())
	for i, size := range []int{0, 1, 512 << 10, 512<<10 + 1, 3 << 20} {
		in := make([]byte, size)
		for k := range in {
			in[k] = byte(k * i)
		}
		require.NoError(t, s.Tasks.Publish(t.Context(), ann, strconv.Itoa(size), in))
		d := fetch(t, s, ann)
		out, err := d.Payload(t.Context())
		require.NoError(t, err)
		require.Len(t, out, size)
		assert.Equal(t, string(in), string(out))
		if i%2 == 0 {
			require.NoError(t, d.Ack(t.Context()))
		} else {
			require.NoError(t, d.AckSync(t.Context()))
		}
	}
	require.Eventually(t, func() bool {
		u, err := s.Usage(t.Context())
		return err == nil && u.FileBytes == 0 && u.Tasks == 0
	}, 5*time.Second, 5*time.Millisecond)
}

func TestSleep(t *testing.T) {
	t.Parallel()
	assert.True(t, jet.Sleep(t.Context(), time.Millisecond))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	begin := time.Now()
	assert.False(t, jet.Sleep(ctx, time.Hour))
	assert.Less(t, time.Since(begin), time.Second)
}
