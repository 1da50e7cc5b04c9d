package outage_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/internal/outage"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errStore = errors.New("connection refused")

// store is a stand-in, and what its monitor reported.
type store struct {
	outage.Monitor
	up, panics bool
	probes     int
	events     []string
}

func newStore() *store {
	s := &store{}
	s.Probe = func(context.Context) error {
		s.probes++
		if s.panics {
			panic("store")
		}
		if s.up {
			return nil
		}
		return errStore
	}
	s.OnDown = func(_ context.Context, err error) { s.events = append(s.events, "down: "+err.Error()) }
	s.OnUp = func(context.Context) { s.events = append(s.events, "up") }
	return s
}

func TestAStoreIsProbedUntilItIsBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		require.False(t, s.IsDown(t.Context()))
		s.Observe(t.Context(), time.Now(), errStore)
		s.Observe(t.Context(), time.Now(), errStore)
		for range 25 { // two and a half seconds
			assert.True(t, s.IsDown(t.Context()))
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		assert.Equal(t, 2, s.probes, "one each second")
		s.up = true
		time.Sleep(outage.ProbeEvery)
		assert.True(t, s.IsDown(t.Context()), "a request does not wait for the probe")
		synctest.Wait()
		assert.False(t, s.IsDown(t.Context()))
		assert.Equal(t, []string{"down: connection refused", "up"}, s.events)
	})
}

func TestAnUnusedStoreIsLeftAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		s.Observe(t.Context(), time.Now(), errStore)
		time.Sleep(time.Hour)
		assert.Zero(t, s.probes)
	})
}

func TestAClientThatLeftProvesNothing(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := newStore()
	s.Observe(ctx, time.Now(), ctx.Err())
	assert.False(t, s.IsDown(t.Context()))
	assert.Empty(t, s.events)
}

func TestAProbeThatPanicsFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		s.panics = true
		s.Observe(t.Context(), time.Now(), errStore)
		time.Sleep(2 * outage.ProbeEvery)
		require.True(t, s.IsDown(t.Context()))
		synctest.Wait()
		assert.Equal(t, 1, s.probes)
		s.panics, s.up = false, true
		time.Sleep(2 * outage.ProbeEvery)
		require.True(t, s.IsDown(t.Context()))
		synctest.Wait()
		assert.False(t, s.IsDown(t.Context()), "it is probed again")
	})
}

// slow makes a call that takes 50 ms and fails.
func (s *store) slow(ctx context.Context, err error) {
	began := time.Now()
	time.Sleep(50 * time.Millisecond)
	s.Observe(ctx, began, err)
}

func TestTransientFailures(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]error{
		"a timeout":               fmt.Errorf("store: %w", context.DeadlineExceeded),
		"a timeout of the socket": &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded},
		"a lost connection":       io.EOF,
		"a reset connection":      &net.OpError{Op: "read", Err: syscall.ECONNRESET},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, ctx := newStore(), t.Context()
				s.Observe(ctx, time.Now(), nil)
				for range 10 { // never three in a row
					s.slow(ctx, err)
					s.slow(ctx, err)
					s.Observe(ctx, time.Now(), nil)
				}
				for range 100 { // a stall that many calls met at once
					go s.slow(ctx, err)
				}
				time.Sleep(time.Second)
				assert.False(t, s.IsDown(ctx))
				s.slow(ctx, err)
				require.NoError(t, s.Cause())
				s.slow(ctx, err)
				require.ErrorIs(t, s.Cause(), err)
				assert.Len(t, s.events, 1)
			})
		})
	}
}

func TestAStoreThatNeverAnsweredGetsNoPatience(t *testing.T) {
	t.Parallel()
	s := newStore()
	s.Observe(t.Context(), time.Now(), context.DeadlineExceeded)
	assert.True(t, s.IsDown(t.Context()))
}

// A store that serves probes and fails requests does not go up and down every second.
func TestAStoreThatRelapsesIsProbedLess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		s.up = true
		for range 600 { // a minute
			if !s.IsDown(t.Context()) {
				s.Observe(t.Context(), time.Now(), errStore)
			}
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		assert.LessOrEqual(t, len(s.events), 2*10)
		time.Sleep(time.Minute)
		s.IsDown(t.Context())
		synctest.Wait()
		time.Sleep(time.Minute) // it was up for long enough
		s.Observe(t.Context(), time.Now(), errStore)
		time.Sleep(outage.ProbeEvery + time.Millisecond)
		s.IsDown(t.Context())
		synctest.Wait()
		assert.False(t, s.IsDown(t.Context()), "back after a second")
	})
}
