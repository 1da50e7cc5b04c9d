package ratelimit_test

import (
	"context"
	"math/rand/v2"
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

// engine is a model server with slots: a request with a slot gets its first token after the
// prefill, and then the rest of its tokens.
type engine struct {
	slots   chan struct{}
	prefill time.Duration
	stream  time.Duration

	mu   sync.Mutex
	peak int
	now  int
}

func newEngine(slots int) *engine {
	return &engine{slots: make(chan struct{}, slots), prefill: 100 * time.Millisecond, stream: time.Second}
}

func (e *engine) enter(n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.now += n
	e.peak = max(e.peak, e.now)
}

func (e *engine) handle(c *gin.Context) {
	e.enter(1)
	defer e.enter(-1)
	e.slots <- struct{}{}
	defer func() { <-e.slots }()
	time.Sleep(e.prefill)
	c.Header("Content-Type", "text/event-stream")
	_, _ = c.Writer.WriteString("data: a\n\n")
	c.Writer.Flush()
	time.Sleep(e.stream)
	_, _ = c.Writer.WriteString("data: [DONE]\n\n")
}

func adaptive(tb testing.TB, cfg ratelimit.AdaptiveConfig) *ratelimit.Adaptive {
	tb.Helper()
	a, err := ratelimit.NewAdaptive(cfg)
	require.NoError(tb, err)
	return a
}

func serve(chain ...gin.HandlerFunc) *gin.Engine {
	r := gin.New()
	r.GET("/*path", chain...)
	return r
}

// Under twice the server's capacity the limit settles near the capacity: first tokens stay
// fast, and the server is busy.
func TestAdaptive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(40)
		a := adaptive(t, ratelimit.AdaptiveConfig{Initial: 40, Min: 10, Max: 400})
		h := serve(a.Middleware(), e.handle)
		var wg sync.WaitGroup
		codes, mu := map[int]int{}, sync.Mutex{}
		random := rand.New(rand.NewPCG(1, 2))
		begin := time.Now()
		for time.Since(begin) < 3*time.Minute {
			time.Sleep(time.Duration(random.ExpFloat64() * float64(time.Second) / 80)) // 40 slots serve 36 a second
			wg.Go(func() {
				code := get(h, "").Code
				mu.Lock()
				defer mu.Unlock()
				codes[code]++
			})
		}
		wg.Wait()
		assert.Zero(t, a.Inflight())
		assert.GreaterOrEqual(t, codes[200], 36*180*9/10, "the server was busy: %v", codes)
		assert.Less(t, a.Limit(), 80)
		assert.Less(t, e.peak, 100, "at most as many again queue in the server")
	})
}

// A server that becomes slow gets fewer requests until that turns out to make nothing faster,
// and more again when it recovers.
func TestAdaptiveFollows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		seen := new(events)
		a := adaptive(t, ratelimit.AdaptiveConfig{Initial: 50, Min: 5, Max: 100, OnEvent: seen.On})
		prefill := 100 * time.Millisecond
		h := serve(a.Middleware(), func(c *gin.Context) {
			time.Sleep(prefill)
			c.Header("Content-Type", "text/event-stream")
			_, _ = c.Writer.WriteString("data: a\n\n")
		})
		load := func(d time.Duration) {
			for range int(d / prefill) {
				count(h, "", a.Limit())
			}
		}
		load(15 * time.Second)
		high := a.Limit()
		assert.Equal(t, 100, high)
		prefill = 800 * time.Millisecond
		low := high
		for range 30 {
			load(time.Second)
			low = min(low, a.Limit())
		}
		assert.LessOrEqual(t, low, 50)
		prefill = 100 * time.Millisecond
		load(30 * time.Second)
		assert.Greater(t, a.Limit(), 60)
		assert.NotEmpty(t, seen.of(ratelimit.Changed))
	})
}

// Responses that take the same time under any load are no samples.
func TestAdaptiveIgnores(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		all     bool
		learns  bool
		handler gin.HandlerFunc
	}{
		"JSON":              {false, false, func(c *gin.Context) { c.String(200, "x") }},
		"JSON, all":         {true, true, func(c *gin.Context) { c.String(200, "x") }},
		"an error":          {true, false, func(c *gin.Context) { c.String(500, "x") }},
		"no body":           {true, false, func(c *gin.Context) { c.Status(200) }},
		"only a heartbeat":  {true, false, func(c *gin.Context) { _, _ = c.Writer.WriteString(":\n\n") }},
		"a heartbeat first": {true, true, func(c *gin.Context) { _, _ = c.Writer.WriteString(":\n\n"); _, _ = c.Writer.WriteString("x") }},
	} {
		synctest.Test(t, func(t *testing.T) {
			a := adaptive(t, ratelimit.AdaptiveConfig{Initial: 20, Max: 1000, All: tt.all})
			h := serve(a.Middleware(), func(c *gin.Context) { time.Sleep(time.Millisecond); tt.handler(c) })
			for range 100 {
				count(h, "", 20)
				time.Sleep(100 * time.Millisecond)
			}
			assert.Equal(t, tt.learns, a.Limit() != 20, name)
		})
	}
}

func TestAdaptiveRefuses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		seen := new(events)
		a := adaptive(t, ratelimit.AdaptiveConfig{Initial: 3, Min: 3, Max: 3, OnEvent: seen.On})
		h := serve(a.Middleware(), func(c *gin.Context) { time.Sleep(time.Second); c.Status(200) })
		start := time.Now()
		assert.Equal(t, map[int]int{200: 3, 503: 7}, count(h, "", 10))
		assert.Equal(t, time.Second, time.Since(start))
		assert.Len(t, seen.of(ratelimit.Refused), 7)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { get(h, "") })
		}
		synctest.Wait()
		w := get(h, "")
		assert.Equal(t, "1", w.Header().Get("Retry-After"))
		assert.Contains(t, w.Body.String(), "overloaded")
		assert.Equal(t, 3, a.Inflight())
		wg.Wait()
		assert.Zero(t, a.Inflight())
	})
}

// A panic in a handler releases the slot.
func TestAdaptivePanic(t *testing.T) {
	t.Parallel()
	a := adaptive(t, ratelimit.AdaptiveConfig{Initial: 1, Min: 1, Max: 1})
	h := serve(a.Middleware(), func(*gin.Context) { panic("x") })
	for range 3 {
		assert.Panics(t, func() { get(h, "") })
	}
	assert.Zero(t, a.Inflight())
}

func TestAdaptiveWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out := new(served)
		a := adaptive(t, ratelimit.AdaptiveConfig{Initial: 1, Min: 1, Max: 1, Wait: ratelimit.Wait{Max: 10 * time.Second, Size: 4, Priority: priority, Tenant: byUser}})
		h := serve(a.Middleware(), func(c *gin.Context) { time.Sleep(time.Second); out.handler(c) })
		var wg sync.WaitGroup
		var mu sync.Mutex
		codes := map[int]int{}
		for _, one := range []struct{ user, priority string }{{"a", "0"}, {"a", "0"}, {"a", "0"}, {"a", "0"}, {"a", "0"}, {"b", "0"}, {"c", "1"}} {
			enqueue(&wg, h, one.user, one.priority, codes, &mu)
		}
		wg.Wait()
		assert.Equal(t, []string{"a", "c", "a", "b", "a"}, out.list())
		assert.Equal(t, map[int]int{200: 5, 503: 2}, codes)
		assert.Zero(t, a.Inflight())
		wg.Go(func() { get(h, "x") })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		assert.Equal(t, http.StatusGatewayTimeout, getIn(ctx, h, "y").Code)
		wg.Wait()
		assert.Zero(t, a.Inflight())
	})
}

func TestAdaptiveWaitEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := adaptive(t, ratelimit.AdaptiveConfig{Initial: 1, Min: 1, Max: 1, Wait: ratelimit.Wait{Max: time.Second}})
		h := serve(a.Middleware(), func(c *gin.Context) { time.Sleep(time.Minute); c.Status(200) })
		var wg sync.WaitGroup
		wg.Go(func() { get(h, "") })
		synctest.Wait()
		start := time.Now()
		assert.Equal(t, http.StatusServiceUnavailable, get(h, "").Code)
		assert.Equal(t, time.Second, time.Since(start))
		wg.Wait()
	})
}

func TestAdaptiveConfig(t *testing.T) {
	t.Parallel()
	for i, cfg := range []ratelimit.AdaptiveConfig{
		{Min: -1}, {Min: 10, Max: 5}, {Initial: 10, Min: 20}, {Initial: 300}, {Tolerance: 0.5}, {Tolerance: zero / zero}, {Headroom: -1}, {Wait: ratelimit.Wait{Max: -1}},
	} {
		_, err := ratelimit.NewAdaptive(cfg)
		require.Error(t, err, i)
	}
	for most, want := range map[int]int{0: 20, 5: 5, 1000: 20} {
		assert.Equal(t, want, adaptive(t, ratelimit.AdaptiveConfig{Max: most}).Limit(), "Max %d", most)
	}
	assert.Equal(t, 50, adaptive(t, ratelimit.AdaptiveConfig{Min: 50}).Limit())
}

// The writer has the interfaces that other middlewares and the server need.
func TestAdaptiveWriter(t *testing.T) {
	t.Parallel()
	a := adaptive(t, ratelimit.AdaptiveConfig{})
	srv := httptest.NewServer(serve(a.Middleware(), func(c *gin.Context) {
		assert.NoError(t, http.NewResponseController(c.Writer).SetWriteDeadline(time.Now().Add(time.Minute)))
		assert.NoError(t, http.NewResponseController(c.Writer).Flush())
	}))
	defer srv.Close()
	res, err := http.Get(srv.URL)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
}
