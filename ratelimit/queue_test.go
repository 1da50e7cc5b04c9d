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

// served records the admitted requests in order.
type served struct {
	mu    sync.Mutex
	users []string
}

func (s *served) handler(c *gin.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users = append(s.users, c.GetHeader("X-User"))
	c.Status(http.StatusOK)
}

func (s *served) list() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.users)
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
		h := app(limiter(t, ratelimit.Config{Key: ratelimit.Global, Rate: 10, Burst: 1, Wait: ratelimit.Wait{Max: 950 * time.Millisecond}, OnEvent: seen.On}).Middleware())
		start := time.Now()
		assert.Equal(t, map[int]int{200: 10, 429: 90}, count(h, "", 100), "one at once, nine within a second; the rest would wait too long")
		assert.Equal(t, 900*time.Millisecond, time.Since(start).Round(time.Millisecond))
		assert.Equal(t, 900*time.Millisecond, seen.of(ratelimit.Allowed)[9].Wait.Round(time.Millisecond))
		for _, e := range seen.of(ratelimit.Refused) {
			assert.GreaterOrEqual(t, e.Wait, 950*time.Millisecond, "the wait is correct")
		}
	})
}

// Requests that would wait too long are refused at once, not at their deadline.
func TestWaitRefusesAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := app(limiter(t, ratelimit.Config{Key: byUser, Rate: 0.5, Burst: 1, Wait: ratelimit.Wait{Max: time.Second}}).Middleware())
		assert.Equal(t, http.StatusOK, get(h, "a").Code)
		start := time.Now()
		w := get(h, "a")
		assert.Equal(t, http.StatusTooManyRequests, w.Code)
		assert.Equal(t, "2", w.Header().Get("Retry-After"))
		assert.Equal(t, http.StatusOK, get(h, "b").Code, "another bucket does not block it")
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
			{"low4", "0"}, // refused: none has a lower priority
			{"high", "2"}, // low3 is refused for it
		} {
			enqueue(&wg, r, one.user, one.priority, codes, &mu)
		}
		wg.Wait()
		assert.Equal(t, []string{"first", "high", "mid", "low1", "low2"}, out.list())
		assert.Equal(t, map[int]int{200: 5, 429: 2}, codes)
	})
}

// A tenant with many waiting requests is served as often as one with few. In a full queue it
// is refused first.
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

// A client disconnect in the queue makes room and costs nothing.
func TestDisconnectInQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := app(limiter(t, ratelimit.Config{Key: ratelimit.Global, Rate: 1, Burst: 1, Wait: ratelimit.Wait{Max: time.Minute}}).Middleware())
		get(h, "")
		var wg sync.WaitGroup
		for range 5 {
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			wg.Go(func() { assert.Equal(t, http.StatusGatewayTimeout, getIn(ctx, h, "").Code) })
		}
		synctest.Wait()
		start := time.Now()
		wg.Go(func() {
			assert.Equal(t, http.StatusOK, get(h, "").Code)
			assert.Equal(t, time.Second, time.Since(start).Round(time.Millisecond), "as if the others had never waited")
		})
		wg.Wait()
		time.Sleep(time.Second)
		synctest.Wait()
		assert.Equal(t, map[int]int{200: 1, 429: 0}, map[int]int{200: count(h, "", 1)[200], 429: 0})
	})
}

// A request that waited for one bucket may then be refused by another.
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
				wg.Go(func() { assert.Equal(t, http.StatusOK, get(h, strconv.Itoa(i)).Code) })
			}
		}
		wg.Wait()
		took := time.Since(start).Round(10 * time.Millisecond)
		assert.GreaterOrEqual(t, took, 3500*time.Millisecond, "nine at two a second, two of them at once")
		assert.LessOrEqual(t, took, 4*time.Second, "at most one turn is lost to a user's own limit")
	})
}

func TestWaitTenantError(t *testing.T) {
	t.Parallel()
	h := app(limiter(t, ratelimit.Config{Key: ratelimit.Global, Rate: 1, Burst: 1, Wait: ratelimit.Wait{Max: time.Minute, Tenant: byUser}}).Middleware())
	assert.Equal(t, http.StatusOK, get(h, "").Code)
	assert.Equal(t, http.StatusBadRequest, get(h, "").Code, "closed")
}

// When the store fails the wait continues by the local share; with FailClosed it ends.
func TestWaitStoreDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShared(t)
		h := app(limiter(t, ratelimit.Config{
			Key: ratelimit.Global, Rate: 1, Burst: 1, Store: over(t, s, ratelimit.SharedConfig{FailureMode: ratelimit.FailClosed}), Wait: ratelimit.Wait{Max: time.Minute},
		}).Middleware())
		assert.Equal(t, http.StatusOK, get(h, "").Code)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { assert.Equal(t, http.StatusServiceUnavailable, get(h, "").Code) })
		}
		synctest.Wait()
		s.set(errDown)
		wg.Wait()
	})
}

// The request that would be served last is refused, whatever its line.
func TestFullQueueRefusesTheLastOfAllLines(t *testing.T) {
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

// only returns the key function of a limit for a single user.
func only(user string) func(*gin.Context) (string, error) {
	return func(c *gin.Context) (string, error) {
		if c.GetHeader("X-User") != user {
			return "", ratelimit.ErrSkip
		}
		return user, nil
	}
}
