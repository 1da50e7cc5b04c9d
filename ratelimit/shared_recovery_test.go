package ratelimit_test

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/ratelimit"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A store recovers also when budgets are charged faster than sequential calls could settle.
func TestRecoveryUnderLoad(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, seen := &slowToSettle{shared: newShared(t)}, new(events)
		s.delay.Store(int64(time.Millisecond)) // a round trip
		h := app(limiter(t, ratelimit.Config{
			Limits: []ratelimit.Limit{{Key: byUser, Budget: 1 << 30, Period: ratelimit.Month}}, Lease: -1,
			Store: over(t, s, ratelimit.SharedConfig{Replicas: 1, OnEvent: seen.On}),
		}).Middleware())
		s.set(errDown)
		for i := range 40_000 { // 4000 in a second
			get(h, fmt.Sprint("user", i*7919%200))
			time.Sleep(250 * time.Microsecond)
			if i == 4000 {
				s.set(nil)
			}
		}
		synctest.Wait()
		assert.Len(t, seen.of(ratelimit.StoreUp), 1, "up within 9 s")
		left := int64(0)
		for i := range 200 { // and everything was settled
			w := get(h, fmt.Sprint("user", i))
			var n int64
			_, err := fmt.Sscan(w.Header().Get("X-Ratelimit-Remaining-Requests"), &n)
			require.NoError(t, err)
			left += 1<<30 - n
		}
		assert.Equal(t, int64(40_000+200), left)
	})
}

// A share of less than one request is none.
func TestShareBelowOneRequest(t *testing.T) {
	t.Parallel()
	s := newShared(t)
	var replicas []http.Handler
	for range 3 {
		replicas = append(replicas, app(limiter(t, ratelimit.Config{Key: byUser, Rate: 0.001, Burst: 3, Store: over(t, s, ratelimit.SharedConfig{Replicas: 3}), Lease: -1}).Middleware()))
	}
	admitted := 0
	for _, down := range []error{nil, errDown} {
		s.set(down)
		for _, h := range replicas {
			admitted += count(h, "a", 1)[200]
		}
	}
	assert.Equal(t, 3, admitted)
}
