package ratelimit_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A budget that is used up stays so when the store fails.
func TestBudgetInOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShared(t)
		h := app(limiter(t, ratelimit.Config{
			Limits: []ratelimit.Limit{{Key: byUser, Budget: 100, Period: ratelimit.Month}}, Store: over(t, s, ratelimit.SharedConfig{Replicas: 1}), Lease: -1,
		}).Middleware())
		admitted := count(h, "a", 200)[200]
		for range 5 { // the store flaps
			s.set(errDown)
			admitted += count(h, "a", 200)[200]
			s.set(nil)
			time.Sleep(1100 * time.Millisecond)
			get(h, "a")
			synctest.Wait()
		}
		assert.LessOrEqual(t, admitted, 100)
	})
}

// A flapping store does not grant a burst each time.
func TestFlappingStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShared(t)
		h := app(limiter(t, ratelimit.Config{Key: byUser, Rate: 0.001, Burst: 100, Store: over(t, s, ratelimit.SharedConfig{Replicas: 1}), Lease: -1}).Middleware())
		admitted := count(h, "a", 200)[200]
		for range 10 {
			s.set(errDown)
			admitted += count(h, "a", 200)[200]
			s.set(nil)
			time.Sleep(1100 * time.Millisecond)
			get(h, "a")
			synctest.Wait()
		}
		assert.LessOrEqual(t, admitted, 200, "the limit plus one share of it")
	})
}

// A budget below the number of replicas is not exceeded.
func TestSmallBudgetShare(t *testing.T) {
	t.Parallel()
	s := newShared(t)
	s.set(errDown)
	admitted := 0
	for range 8 {
		h := app(limiter(t, ratelimit.Config{
			Limits: []ratelimit.Limit{{Key: byUser, Budget: 3, Period: ratelimit.Month}}, Store: over(t, s, ratelimit.SharedConfig{Replicas: 8}),
		}).Middleware())
		admitted += count(h, "a", 5)[200]
	}
	assert.LessOrEqual(t, admitted, 3)
}

// Limiters with one Shared have one local share, as the groups of a gateway do.
func TestTwoLimitersInOutage(t *testing.T) {
	t.Parallel()
	s := newShared(t)
	s.set(errDown)
	admitted := 0
	one := over(t, s, ratelimit.SharedConfig{Replicas: 2})
	for range 3 {
		h := app(limiter(t, ratelimit.Config{Key: byUser, Rate: 0.001, Burst: 20, Store: one}).Middleware())
		admitted += count(h, "a", 30)[200]
	}
	assert.LessOrEqual(t, admitted, 10, "half of 20")
}

// slowToSettle is a store with a slow Settle.
type slowToSettle struct {
	*shared
	delay atomic.Int64
}

func (s *slowToSettle) Settle(ctx context.Context, some []ratelimit.Settlement) error {
	defer time.Sleep(time.Duration(s.delay.Load()))
	return s.shared.Settle(ctx, some)
}

// Settlements during the recovery of a store are not lost.
func TestSettleDuringRecovery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, seen := &slowToSettle{shared: newShared(t)}, new(events)
		ends := make(chan chan struct{}, 2)
		h := serve2(tokens(t, ratelimit.TokensConfig{Key: byUser, Rate: 0.0001, Burst: 1000, Store: over(t, s, ratelimit.SharedConfig{Replicas: 1, OnEvent: seen.On}), OnEvent: seen.On}).Middleware(),
			func(c *gin.Context) {
				if c.Query("wait") != "" {
					end := make(chan struct{})
					ends <- end
					<-end
				}
				asJSON(200, response)(c)
			})
		request := func(user, url string) {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(question))
			r.Header.Set("X-User", user)
			h.ServeHTTP(httptest.NewRecorder(), r)
		}
		for range 2 {
			go request("a", "/?wait=1")
		}
		first, second := <-ends, <-ends
		s.set(errDown)
		close(first)
		synctest.Wait()
		require.Len(t, seen.of(ratelimit.StoreDown), 1)
		s.set(nil)
		s.delay.Store(int64(500 * time.Millisecond))
		time.Sleep(1100 * time.Millisecond)
		request("b", "/") // starts a probe, which settles the first
		time.Sleep(100 * time.Millisecond)
		close(second)
		time.Sleep(2 * time.Second)
		require.Len(t, seen.of(ratelimit.StoreUp), 1)
		request("c", "/")
		time.Sleep(time.Minute)
		assert.InDelta(t, 1000-30-30, level(t, s.Memory, ratelimit.Bucket{Limit: "tokens", Key: "a", Rate: 0.0001, Burst: 1000}), 1)
	})
}

// A late probe of one outage does not end the next outage.
func TestLateProbe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, seen := &slowToSettle{shared: newShared(t)}, new(events)
		h := serve2(tokens(t, ratelimit.TokensConfig{Key: byUser, Rate: 0.0001, Burst: 1000, Store: over(t, s, ratelimit.SharedConfig{Replicas: 1, OnEvent: seen.On}), OnEvent: seen.On}).Middleware(),
			func(c *gin.Context) { time.Sleep(time.Second); asJSON(200, response)(c) })
		go post(t.Context(), h, question)
		time.Sleep(time.Millisecond)
		s.set(errDown)
		time.Sleep(time.Second)
		require.Len(t, seen.of(ratelimit.StoreDown), 1)
		s.set(nil)
		s.delay.Store(int64(3500 * time.Millisecond))
		for range 4 { // a probe each second; the first takes 3.5 s
			time.Sleep(1010 * time.Millisecond)
			go post(t.Context(), h, question)
		}
		assert.LessOrEqual(t, len(seen.of(ratelimit.StoreUp)), 1)
		s.delay.Store(0)
		s.set(errDown)
		post(t.Context(), h, question)
		time.Sleep(time.Minute)
		assert.GreaterOrEqual(t, len(seen.of(ratelimit.StoreDown)), len(seen.of(ratelimit.StoreUp))+1, "it is down")
	})
}

// A client that repeats after Retry-After is let in when there is no other.
func TestRetryAfterOfLeases(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, seen := newShared(t), new(events)
		h := app(limiter(t, ratelimit.Config{Key: byUser, Rate: 100, Burst: 100, Store: over(t, s, ratelimit.SharedConfig{Replicas: 1, OnEvent: seen.On}), OnEvent: seen.On}).Middleware())
		require.NoError(t, s.Settle(t.Context(), []ratelimit.Settlement{{Bucket: ratelimit.Bucket{Limit: "requests", Key: "a", Rate: 100, Burst: 100}, Spent: 100}}))
		require.Equal(t, 429, get(h, "a").Code)
		time.Sleep(seen.of(ratelimit.Refused)[0].Wait)
		assert.Equal(t, 200, get(h, "a").Code, "after %v", seen.of(ratelimit.Refused)[0].Wait)
	})
}

// With FailOpen the headers do not show 0 as remaining.
func TestHeadersOfFailOpen(t *testing.T) {
	t.Parallel()
	s := newShared(t)
	s.set(errDown)
	h := app(limiter(t, ratelimit.Config{Key: byUser, Rate: 0.001, Burst: 10, Store: over(t, s, ratelimit.SharedConfig{FailureMode: ratelimit.FailOpen})}).Middleware())
	w := get(h, "a")
	require.Equal(t, 200, w.Code)
	assert.NotEqual(t, "0", w.Header().Get("X-Ratelimit-Remaining-Requests"))
}

// A budget that is leased in small parts can be used fully.
func TestLeasesOfABudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShared(t)
		h := app(limiter(t, ratelimit.Config{
			Limits: []ratelimit.Limit{{Key: byUser, Budget: 1000, Period: ratelimit.Month}}, Store: over(t, s, ratelimit.SharedConfig{Replicas: 1}), Lease: time.Second,
		}).Middleware())
		admitted := 0
		for range 200 {
			for range 9 {
				if get(h, "a").Code == 200 {
					admitted++
				}
			}
			time.Sleep(20 * time.Second)
		}
		assert.GreaterOrEqual(t, admitted, 850)
	})
}

// A lease too short to be used does not empty the store.
func TestShortLease(t *testing.T) {
	t.Parallel()
	s := newShared(t)
	h := app(limiter(t, ratelimit.Config{Key: byUser, Rate: 0.001, Burst: 1000, Store: over(t, s, ratelimit.SharedConfig{Replicas: 1}), Lease: time.Nanosecond}).Middleware())
	assert.Equal(t, 200, get(h, "a").Code)
	assert.LessOrEqual(t, s.calls(), 3)
}

// Tokens spent in an outage are settled.
func TestSpentInOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, seen := newShared(t), new(events)
		h := serve2(tokens(t, ratelimit.TokensConfig{
			Limits: []ratelimit.Limit{{Key: byUser, Budget: 10_000, Period: ratelimit.Month}}, Store: over(t, s, ratelimit.SharedConfig{Replicas: 1, OnEvent: seen.On}), OnEvent: seen.On,
		}).Middleware(), asJSON(200, response))
		s.set(errDown)
		for range 100 {
			post(t.Context(), h, question)
		}
		s.set(nil)
		time.Sleep(1100 * time.Millisecond)
		post(t.Context(), h, question)
		synctest.Wait()
		require.Len(t, seen.of(ratelimit.StoreUp), 1)
		now := time.Now().UTC()
		b := ratelimit.Bucket{Limit: "tokens", Key: "a", Burst: 10_000, Ends: time.Date(now.Year(), now.Month()+1, 1, 0, 0, 0, 0, time.UTC)}
		assert.LessOrEqual(t, level(t, s.Memory, b), 10_000-100*30.0)
	})
}
