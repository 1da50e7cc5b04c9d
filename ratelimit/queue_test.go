package ratelimit_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/stretchr/testify/assert"
)

// served is who was let in, in order.
type served struct {
	mu  sync.Mutex
	who []string
}

func (s *served) handler(c *gin.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.who = append(s.who, c.GetHeader("X-User"))
	c.Status(http.StatusOK)
}

func (s *served) list() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.who)
}

func priority(c *gin.Context) int {
	n, _ := strconv.Atoi(c.GetHeader("X-Priority"))
	return n
}

// enqueue sends requests that differ in user and priority, one after the other.
func enqueue(wg *sync.WaitGroup, h http.Handler, user, priority string, codes map[int]int, mu *sync.Mutex) {
	wg.Go(func() {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("X-User", user)
		r.Header.Set("X-Priority", priority)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		mu.Lock()
		defer mu.Unlock()
		codes[w.Code]++
	})
	synctest.Wait()
}

func TestWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		seen := new(events)
		h := app(limiter(t, ratelimit.Config{Key: ratelimit.Global, Rate: 10, Burst: 1, Wait: ratelimit.Wait{Max: 950 * time.Millisecond}, OnEvent: seen.on}).Middleware())
		start := time.Now()
		assert.Equal(t, map[int]int{200: 10, 429: 90}, count(h, "", 100), "one at once, nine within less than a second; the rest has no hope")
		assert.Equal(t, 900*time.Millisecond, time.Since(start).Round(time.Millisecond))
		assert.Equal(t, 900*time.Millisecond, seen.of(ratelimit.Allowed)[9].Wait.Round(time.Millisecond))
		for _, e := range seen.of(ratelimit.Refused) {
			assert.GreaterOrEqual(t, e.Wait, 950*time.Millisecond, "it is told the truth")
		}
	})
}

// Those without hope are refused at once, not at their deadline.
func TestWaitRefusesAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := app(limiter(t, ratelimit.Config{Key: byUser, Rate: 0.5, Burst: 1, Wait: ratelimit.Wait{Max: time.Second}}).Middleware())
		assert.Equal(t, http.StatusOK, ask(h, "a").Code)
		start := time.Now()
		w := ask(h, "a")
		assert.Equal(t, http.StatusTooManyRequests, w.Code)
		assert.Equal(t, "2", w.Header().Get("Retry-After"))
		assert.Equal(t, http.StatusOK, ask(h, "b").Code, "another's bucket is not in its way")
		assert.Zero(t, time.Since(start))
	})
}

func TestPriorities(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out := new(served)
		l := limiter(t, ratelimit.Config{Key: ratelimit.Global, Rate: 1, Burst: 1, Wait: ratelimit.Wait{Max: time.Minute, Size: 4, Priority: priority}})
		r := gin.New()
		r.GET("/", l.Middleware(), out.handler)
		var wg sync.WaitGroup
		var mu sync.Mutex
		codes := map[int]int{}
		for _, one := range []struct{ user, priority string }{
			{"first", "0"},
			{"low1", "0"},
			{"low2", "0"},
			{"mid", "1"},
			{"low3", "0"}, // the queue is full
			{"low4", "0"}, // refused: nobody is lower
			{"high", "2"}, // low3 makes room
		} {
			enqueue(&wg, r, one.user, one.priority, codes, &mu)
		}
		wg.Wait()
		assert.Equal(t, []string{"first", "high", "mid", "low1", "low2"}, out.list())
		assert.Equal(t, map[int]int{200: 5, 429: 2}, codes)
	})
}

// A tenant with many waiting requests is served as often as one with few, and
// makes room for it.
func TestFairness(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out := new(served)
		l := limiter(t, ratelimit.Config{Key: ratelimit.Global, Rate: 1, Burst: 1, Wait: ratelimit.Wait{Max: time.Minute, Size: 8, Tenant: byUser}})
		r := gin.New()
		r.GET("/", l.Middleware(), out.handler)
		var wg sync.WaitGroup
		var mu sync.Mutex
		codes := map[int]int{}
		for _, user := range []string{"a", "a", "a", "a", "a", "a", "a", "a", "a", "a", "b", "c", "b"} {
			enqueue(&wg, r, user, "", codes, &mu)
		}
		wg.Wait()
		assert.Equal(t, []string{"a", "a", "b", "c", "a", "b", "a", "a", "a"}, out.list())
		assert.Equal(t, map[int]int{200: 9, 429: 4}, codes)
	})
}

// Who leaves makes room, and takes nothing with it.
func TestWaitingClientLeaves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := app(limiter(t, ratelimit.Config{Key: ratelimit.Global, Rate: 1, Burst: 1, Wait: ratelimit.Wait{Max: time.Minute}}).Middleware())
		ask(h, "")
		var wg sync.WaitGroup
		for range 5 {
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			wg.Go(func() { assert.Equal(t, http.StatusGatewayTimeout, askIn(ctx, h, "").Code) })
		}
		synctest.Wait()
		start := time.Now()
		wg.Go(func() {
			assert.Equal(t, http.StatusOK, ask(h, "").Code)
			assert.Equal(t, time.Second, time.Since(start).Round(time.Millisecond), "as if those before had never been there")
		})
		wg.Wait()
		time.Sleep(time.Second)
		synctest.Wait()
		assert.Equal(t, map[int]int{200: 1, 429: 0}, map[int]int{200: count(h, "", 1)[200], 429: 0})
	})
}

// A request that waits for one bucket may find another empty then.
func TestWaitForTwo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := app(limiter(t, ratelimit.Config{
			Limits: []ratelimit.Limit{
				{Name: "user", Key: byUser, Rate: 1, Burst: 1},
				{Name: "all", Key: ratelimit.Global, Rate: 2, Burst: 2},
			},
			Wait: ratelimit.Wait{Max: 10 * time.Second},
		}).Middleware())
		start := time.Now()
		var wg sync.WaitGroup
		for i := range 3 {
			for range 3 {
				wg.Go(func() { assert.Equal(t, http.StatusOK, ask(h, strconv.Itoa(i)).Code) })
			}
		}
		wg.Wait()
		took := time.Since(start).Round(10 * time.Millisecond)
		assert.GreaterOrEqual(t, took, 3500*time.Millisecond, "nine, of which two at once, at two a second")
		assert.LessOrEqual(t, took, 4*time.Second, "a turn is lost at most, when its user's own limit does not let it pass")
	})
}

func TestWaitTenantError(t *testing.T) {
	t.Parallel()
	h := app(limiter(t, ratelimit.Config{Key: ratelimit.Global, Rate: 1, Burst: 1, Wait: ratelimit.Wait{Max: time.Minute, Tenant: byUser}}).Middleware())
	assert.Equal(t, http.StatusOK, ask(h, "").Code)
	assert.Equal(t, http.StatusBadRequest, ask(h, "").Code, "closed")
}

// Waiting goes on, by the share, when the store fails; with FailClosed it ends.
func TestWaitStoreDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShared(t)
		h := app(limiter(t, ratelimit.Config{
			Key: ratelimit.Global, Rate: 1, Burst: 1, Store: over(t, s, ratelimit.SharedConfig{FailureMode: ratelimit.FailClosed}), Wait: ratelimit.Wait{Max: time.Minute},
		}).Middleware())
		assert.Equal(t, http.StatusOK, ask(h, "").Code)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { assert.Equal(t, http.StatusServiceUnavailable, ask(h, "").Code) })
		}
		synctest.Wait()
		s.set(errDown)
		wg.Wait()
	})
}
