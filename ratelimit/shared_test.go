package ratelimit_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/ratelimit"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Busy keys lease in advance, quiet ones take what they need. No more is spent than taken.
func TestLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShared(t)
		h := app(limiter(t, ratelimit.Config{Key: byUser, Rate: 1000, Burst: 1000, Store: over(t, s, ratelimit.SharedConfig{Replicas: 2})}).Middleware())
		for range 2000 {
			require.Equal(t, http.StatusOK, get(h, "busy").Code)
			time.Sleep(2 * time.Millisecond)
		}
		assert.Less(t, s.calls(), 200, "a tenth of the requests call the store")
		before := s.calls()
		for range 10 {
			assert.Equal(t, http.StatusOK, get(h, "quiet").Code)
			time.Sleep(20 * time.Second)
		}
		assert.Equal(t, 10, s.calls()-before)
		assert.EqualValues(t, 1, s.given[len(s.given)-1].Granted, "nothing is hoarded")
	})
}

// Replicas with a shared bucket let in its level, and not one request more.
func TestLeasesNeverExceed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShared(t)
		var replicas []http.Handler
		for range 8 {
			replicas = append(replicas, app(limiter(t, ratelimit.Config{Key: byUser, Rate: 0.0001, Burst: 500, Store: over(t, s, ratelimit.SharedConfig{Replicas: 8})}).Middleware()))
		}
		passed := 0
		for range 40 { // bursts, so that replicas lease in advance
			var mu sync.Mutex
			var wg sync.WaitGroup
			for _, h := range replicas {
				wg.Go(func() {
					n := count(h, "a", 10)[200]
					mu.Lock()
					defer mu.Unlock()
					passed += n
				})
			}
			wg.Wait()
			time.Sleep(30 * time.Millisecond)
		}
		assert.LessOrEqual(t, passed, 500)
		assert.Greater(t, passed, 450, "leased tokens are used")
	})
}

// Concurrent requests share a loan.
func TestLoansAreShared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShared(t)
		s.slow = 10 * time.Millisecond
		h := app(limiter(t, ratelimit.Config{Key: byUser, Rate: 0.001, Burst: 3, Store: over(t, s, ratelimit.SharedConfig{Replicas: 1})}).Middleware())
		assert.Equal(t, map[int]int{200: 3, 429: 97}, count(h, "a", 100))
		assert.LessOrEqual(t, s.calls(), 5)
		before := s.calls()
		assert.Equal(t, map[int]int{429: 100}, count(h, "a", 100))
		assert.Equal(t, before, s.calls(), "a refusal is valid for a while")
		w := get(h, "a")
		assert.Equal(t, "1000", w.Header().Get("Retry-After"))
	})
}

// A client disconnect does not affect others that wait for its loan, nor does a panic of the
// store.
func TestLoanAfterDisconnect(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShared(t)
		s.slow = time.Second
		h := app(limiter(t, ratelimit.Config{Key: byUser, Rate: 1, Burst: 5, Store: over(t, s, ratelimit.SharedConfig{Replicas: 1})}).Middleware())
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() { getIn(ctx, h, "a") })
		synctest.Wait()
		wg.Go(func() { assert.Equal(t, http.StatusOK, get(h, "a").Code) })
		short, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer stop()
		start := time.Now()
		assert.Equal(t, http.StatusGatewayTimeout, getIn(short, h, "a").Code)
		assert.Equal(t, 20*time.Millisecond, time.Since(start), "a disconnect ends the wait for a loan")
		wg.Wait()
	})
}

// While the store is down the local share applies. The store recovers by itself, and what it
// missed is settled.
func TestStoreDown(t *testing.T) {
	t.Parallel()
	for _, lease := range []time.Duration{0, -1} {
		synctest.Test(t, func(t *testing.T) {
			s, seen := newShared(t), new(events)
			h := app(limiter(t, ratelimit.Config{
				Key: byUser, Rate: 1, Burst: 40, Store: over(t, s, ratelimit.SharedConfig{Replicas: 4, OnEvent: seen.On}), OnEvent: seen.On,
				Lease: lease,
			}).Middleware())
			assert.Equal(t, 10, count(h, "a", 10)[200])
			s.set(errDown)
			time.Sleep(time.Second) // the leases expire
			assert.Equal(t, map[int]int{200: 10, 429: 90}, count(h, "b", 100), "a quarter of 40")
			assert.Len(t, seen.of(ratelimit.StoreDown), 1)
			require.ErrorIs(t, seen.of(ratelimit.StoreDown)[0].Err, ratelimit.ErrUnavailable)
			before := s.calls()
			for range 1000 {
				get(h, "b")
				time.Sleep(10 * time.Millisecond)
			}
			assert.LessOrEqual(t, s.calls()-before, 11, "once a second, whatever the load")
			assert.Empty(t, seen.of(ratelimit.StoreUp))
			s.set(nil)
			time.Sleep(1100 * time.Millisecond)
			get(h, "b")
			synctest.Wait()
			assert.Len(t, seen.of(ratelimit.StoreUp), 1)
			time.Sleep(2 * time.Second)
			assert.GreaterOrEqual(t, count(h, "c", 41)[200], 39, "the whole limit again")
			s.set(errDown)
			time.Sleep(time.Second)
			get(h, "d")
			assert.Len(t, seen.of(ratelimit.StoreDown), 2)
		})
	}
}

func TestStoreDownPolicies(t *testing.T) {
	t.Parallel()
	for down, want := range map[ratelimit.FailureMode]map[int]int{
		ratelimit.FailClosed: {503: 20},
		ratelimit.FailOpen:   {200: 20},
		ratelimit.LocalShare: {200: 5, 429: 15},
	} {
		s := newShared(t)
		s.set(errDown)
		h := app(limiter(t, ratelimit.Config{Key: byUser, Rate: 0.001, Burst: 10, Store: over(t, s, ratelimit.SharedConfig{FailureMode: down, Replicas: 2})}).Middleware())
		assert.Equal(t, want, count(h, "a", 20))
		if down == ratelimit.FailClosed {
			w := get(h, "a")
			assert.Equal(t, "1", w.Header().Get("Retry-After"))
			assert.Contains(t, w.Body.String(), "limits_unavailable")
		}
	}
}

// A client disconnect does not mean that the store is down.
func TestDisconnectIsNotDown(t *testing.T) {
	t.Parallel()
	s, seen := newShared(t), new(events)
	s.set(context.Canceled)
	h := app(limiter(t, ratelimit.Config{Key: byUser, Rate: 1, Store: over(t, s, ratelimit.SharedConfig{Replicas: 1, OnEvent: seen.On}), OnEvent: seen.On, Lease: -1}).Middleware())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.Equal(t, 499, getIn(ctx, h, "a").Code)
	assert.Empty(t, seen.of(ratelimit.StoreDown))
}

// panicking panics once.
type panicking struct {
	*shared
	once sync.Once
}

func (p *panicking) Take(ctx context.Context, charges []ratelimit.Charge) error {
	p.once.Do(func() { panic(errors.New("once")) })
	return p.shared.Take(ctx, charges)
}

func TestStoreThatPanics(t *testing.T) {
	t.Parallel()
	h := app(limiter(t, ratelimit.Config{Key: byUser, Rate: 1, Burst: 5, Store: over(t, &panicking{shared: newShared(t)}, ratelimit.SharedConfig{Replicas: 1})}).Middleware())
	assert.Panics(t, func() { get(h, "a") })
	assert.Equal(t, http.StatusOK, get(h, "a").Code, "no request waits for it for ever")
}
