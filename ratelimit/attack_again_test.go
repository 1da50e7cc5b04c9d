package ratelimit_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A store that is back counts again, also when more budgets pay at the same time
// than one call after the other could tell it of.
func TestAttackBackUnderLoad(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, seen := &slowToSettle{shared: newShared(t)}, new(events)
		s.delay.Store(int64(time.Millisecond)) // a round trip
		h := app(limiter(t, ratelimit.Config{
			Limits: []ratelimit.Limit{{Key: byUser, Budget: 1 << 30, Period: ratelimit.Month}}, Lease: -1,
			Store: over(t, s, ratelimit.SharedConfig{Replicas: 1, OnEvent: seen.on}),
		}).Middleware())
		s.set(errDown)
		for i := range 40_000 { // 4000 in a second
			ask(h, fmt.Sprint("user", i*7919%200))
			time.Sleep(250 * time.Microsecond)
			if i == 4000 {
				s.set(nil)
			}
		}
		synctest.Wait()
		assert.Len(t, seen.of(ratelimit.StoreUp), 1, "back within 9 s")
		left := int64(0)
		for i := range 200 { // and it was told of everything
			w := ask(h, fmt.Sprint("user", i))
			var n int64
			_, err := fmt.Sscan(w.Header().Get("X-Ratelimit-Remaining-Requests"), &n)
			require.NoError(t, err)
			left += 1<<30 - n
		}
		assert.Equal(t, int64(40_000+200), left)
	})
}

// The one that would be served last makes room, whatever line it stands in.
func TestAttackLastOfAllLinesMakesRoom(t *testing.T) {
	t.Parallel()
	for range 30 { // lines are in no order
		synctest.Test(t, func(t *testing.T) {
			h := app(limiter(t, ratelimit.Config{
				Limits: []ratelimit.Limit{
					{Name: "quick", Key: only("quick"), Rate: 1, Burst: 1},
					{Name: "slow", Key: only("slow"), Rate: 0.01, Burst: 1},
				},
				Wait: ratelimit.Wait{Max: time.Hour, Size: 3, Tenant: func(c *gin.Context) (string, error) { return c.GetHeader("X-Tenant"), nil }},
			}).Middleware())
			var mu sync.Mutex
			got := map[string]int{}
			var wg sync.WaitGroup
			send := func(name, user, tenant string) {
				wg.Go(func() {
					r := httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/", nil)
					r.Header.Set("X-User", user)
					r.Header.Set("X-Tenant", tenant)
					w := httptest.NewRecorder()
					h.ServeHTTP(w, r)
					mu.Lock()
					defer mu.Unlock()
					got[name] = w.Code
				})
				synctest.Wait()
			}
			send("first quick", "quick", "a")
			send("first slow", "slow", "a")
			send("quick", "quick", "a")  // served after 1 s
			send("second", "quick", "a") // after 2 s
			send("slow", "slow", "a")    // after 100 s
			send("newcomer", "quick", "b")
			wg.Wait()
			assert.Equal(t, http.StatusTooManyRequests, got["slow"])
			assert.Equal(t, http.StatusOK, got["quick"])
			assert.Equal(t, http.StatusOK, got["second"])
			assert.Equal(t, http.StatusOK, got["newcomer"])
		})
	}
}

// only makes a limit one for a single user.
func only(user string) func(*gin.Context) (string, error) {
	return func(c *gin.Context) (string, error) {
		if c.GetHeader("X-User") != user {
			return "", ratelimit.ErrSkip
		}
		return user, nil
	}
}

// A share of less than one request is none.
func TestAttackPartOfARequest(t *testing.T) {
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
