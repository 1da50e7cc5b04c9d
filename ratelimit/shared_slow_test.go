package ratelimit_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/ratelimit"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// stalling is a store whose next calls do not respond within 50 ms, although it executes them.
type stalling struct {
	*shared
	stalls int
}

func (s *stalling) stall(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stalls += n
}

func (s *stalling) Take(ctx context.Context, charges []ratelimit.Charge) error {
	s.mu.Lock()
	slow := s.stalls > 0
	s.stalls = max(s.stalls-1, 0)
	s.mu.Unlock()
	err := s.shared.Take(ctx, charges)
	if slow {
		time.Sleep(50 * time.Millisecond)
		return fmt.Errorf("%w: %w", ratelimit.ErrUnavailable, context.DeadlineExceeded)
	}
	return err
}

// replicasOf returns eight replicas of one limit over a store.
func replicasOf(t *testing.T, store ratelimit.Store, cfg ratelimit.Config, seen *events) (all []http.Handler) {
	t.Helper()
	for range 8 {
		cfg.Store = over(t, store, ratelimit.SharedConfig{Replicas: 8, OnEvent: seen.On})
		all = append(all, app(limiter(t, cfg).Middleware()))
	}
	return all
}

// pass sends one request through each replica, and returns how many passed.
func pass(all []http.Handler) (passed int) {
	for _, h := range all {
		passed += count(h, "a", 1)[200]
	}
	return passed
}

// A slow call of each replica now and then costs nothing beyond the limit, whatever it executed.
func TestSlowCallsKeepTheStore(t *testing.T) {
	t.Parallel()
	for name, slow := range map[string]int{"one": 1, "two in a row": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, seen := &stalling{shared: newShared(t)}, new(events)
				replicas := replicasOf(t, s, ratelimit.Config{Key: byUser, Rate: 0.0001, Burst: 81}, seen)
				passed := 0
				for i := range 25 {
					passed += pass(replicas[:7])
					if i < 10 {
						s.stall(slow)
					}
					passed += pass(replicas[7:])
					time.Sleep(800 * time.Millisecond)
				}
				assert.LessOrEqual(t, passed, 81)
				assert.Greater(t, passed, 50, "what a call took that failed may be lost")
				assert.Empty(t, seen.of(ratelimit.StoreDown))
			})
		})
	}
}

// What eight replicas gave while they were cut off is booked, and is not given again.
func TestShareIsBooked(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]time.Duration{"briefly": 100 * time.Millisecond, "for seconds": 5 * time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newShared(t)
				replicas := replicasOf(t, s, ratelimit.Config{Key: byUser, Rate: 10, Burst: 80, Lease: -1}, new(events))
				passed, begin := 0, time.Now()
				run := func(d time.Duration) {
					for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
						passed += pass(replicas)
					}
				}
				run(100 * time.Millisecond) // half of the burst
				s.set(errDown)
				run(cut)
				s.set(nil)
				run(20 * time.Second)
				limit := 80 + 10*time.Since(begin).Seconds()
				assert.LessOrEqual(t, float64(passed), limit+1)
				assert.Greater(t, float64(passed), 0.9*limit)
			})
		})
	}
}

// An outage in which a rate refilled all that was given leaves no debt.
func TestLongOutageLeavesNoDebt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, seen := newShared(t), new(events)
		h := app(limiter(t, ratelimit.Config{Key: byUser, Rate: 10, Burst: 20, Store: over(t, s, ratelimit.SharedConfig{Replicas: 1, OnEvent: seen.On}), Lease: -1}).Middleware())
		s.set(errDown)
		for range 3600 {
			get(h, "a")
			time.Sleep(time.Second)
		}
		s.set(nil)
		time.Sleep(2 * time.Second)
		get(h, "a")
		synctest.Wait()
		require.Len(t, seen.of(ratelimit.StoreUp), 1)
		assert.GreaterOrEqual(t, count(h, "a", 20)[200], 18)
	})
}

// readOnly is a store that reads and does not write.
type readOnly struct {
	*shared
	mu sync.Mutex
	on bool
}

func (r *readOnly) set(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.on = on
}

func (r *readOnly) writes(n int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.on && n > 0 {
		return fmt.Errorf("%w: OOM command not allowed", ratelimit.ErrUnavailable)
	}
	return nil
}

func (r *readOnly) Take(ctx context.Context, charges []ratelimit.Charge) error {
	if err := r.writes(len(charges)); err != nil {
		return err
	}
	return r.shared.Take(ctx, charges)
}

func (r *readOnly) Settle(ctx context.Context, some []ratelimit.Settlement) error {
	if err := r.writes(len(some)); err != nil {
		return err
	}
	return r.shared.Settle(ctx, some)
}

func TestStoreThatDoesNotWriteIsDown(t *testing.T) {
	t.Parallel()
	for _, mode := range []ratelimit.FailureMode{ratelimit.LocalShare, ratelimit.FailClosed, ratelimit.FailOpen} {
		synctest.Test(t, func(t *testing.T) {
			r, seen := &readOnly{shared: newShared(t)}, new(events)
			store := over(t, r, ratelimit.SharedConfig{FailureMode: mode, Replicas: 2, OnEvent: seen.On})
			h := app(limiter(t, ratelimit.Config{Key: byUser, Rate: 100, Store: store, Lease: -1}).Middleware())
			require.Equal(t, 200, get(h, "a").Code)
			require.NoError(t, store.Down())
			r.set(true)
			for range 300 {
				get(h, "a")
				time.Sleep(100 * time.Millisecond)
			}
			assert.Len(t, seen.of(ratelimit.StoreDown), 1)
			assert.Empty(t, seen.of(ratelimit.StoreUp), "it does not flap")
			require.ErrorContains(t, store.Down(), "OOM")
			r.set(false)
			for range 30 {
				get(h, "a")
				time.Sleep(100 * time.Millisecond)
			}
			assert.Len(t, seen.of(ratelimit.StoreUp), 1)
			require.NoError(t, store.Down())
		})
	}
}
