package ratelimit_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Requests do not wait for a budget, not even in the last millisecond of its period.
func TestNoWaitForMidnight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := app(limiter(t, ratelimit.Config{
			Limits: []ratelimit.Limit{{Key: byUser, Budget: 1, Period: ratelimit.Day}}, Wait: ratelimit.Wait{Max: 1010 * time.Microsecond},
		}).Middleware())
		now := time.Now().UTC()
		midnight := time.Date(now.Year(), now.Month(), now.Day()+1, 0, 0, 0, 0, time.UTC)
		time.Sleep(time.Until(midnight) - time.Millisecond)
		require.Equal(t, 200, get(h, "a").Code)
		begin := time.Now()
		assert.Equal(t, 429, get(h, "a").Code)
		assert.Zero(t, time.Since(begin))
	})
}

// A limit that was not checked does not show 0 as remaining.
func TestHeadersBehindAQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := app(limiter(t, ratelimit.Config{
			Limits: []ratelimit.Limit{{Name: "all", Key: ratelimit.Global, Rate: 0.01, Burst: 100}, {Name: "user", Key: byUser, Rate: 1, Burst: 1}},
			Wait:   ratelimit.Wait{Max: 1500 * time.Millisecond},
		}).Middleware())
		get(h, "a")
		done := make(chan struct{})
		go func() { defer close(done); get(h, "a") }()
		synctest.Wait()
		w := get(h, "a")
		<-done
		require.Equal(t, 429, w.Code)
		assert.NotContains(t, strings.Join(w.Header()["Ratelimit"], ","), `"all";r=0`, "98 are left")
		assert.Equal(t, "1", w.Header().Get("X-Ratelimit-Limit-Requests"), "of the limit that refused")
	})
}

// A full queue refuses the request that would be served last, whatever its line.
func TestFullQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := app(limiter(t, ratelimit.Config{Key: byUser, Rate: 1, Burst: 1, Wait: ratelimit.Wait{
			Max: 10 * time.Second, Size: 3,
			Priority: func(c *gin.Context) int { return len(c.GetHeader("X-User")) },
		}}).Middleware())
		var wg sync.WaitGroup
		get(h, "a")
		for range 3 {
			wg.Go(func() { get(h, "a") })
		}
		synctest.Wait()
		get(h, "important")
		assert.Equal(t, 200, get(h, "important").Code, "it would be served in a second, before two of the others")
		wg.Wait()
	})
}

// A client disconnect before its turn costs the tenant no turn.
func TestFairnessAfterDisconnect(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var order []string
		a := adaptive(t, ratelimit.AdaptiveConfig{Initial: 1, Min: 1, Max: 1, Wait: ratelimit.Wait{Max: time.Hour, Tenant: byUser}})
		h := serve(a.Middleware(), func(c *gin.Context) {
			mu.Lock()
			order = append(order, c.GetHeader("X-User"))
			mu.Unlock()
			time.Sleep(time.Second)
		})
		var wg sync.WaitGroup
		wg.Go(func() { get(h, "first") })
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		for range 20 {
			wg.Go(func() { getIn(ctx, h, "a") })
		}
		synctest.Wait()
		cancel()
		synctest.Wait()
		for range 5 {
			wg.Go(func() { get(h, "a") })
			synctest.Wait()
			wg.Go(func() { get(h, "b") })
			synctest.Wait()
		}
		wg.Wait()
		require.Len(t, order, 11)
		assert.Contains(t, order[1:4], "a", "it has as many turns as b: %v", order)
	})
}

// Tenants without waiting requests use no memory.
func TestMemoryOfTenants(t *testing.T) { //nolint:paralleltest // it measures memory
	n, finish, started := 0, make(chan struct{}), make(chan struct{})
	a := adaptive(t, ratelimit.AdaptiveConfig{Initial: 1, Min: 1, Max: 1, Wait: ratelimit.Wait{Max: time.Hour, Tenant: func(*gin.Context) (string, error) {
		n++
		return fmt.Sprint(n, strings.Repeat("x", 10_000)), nil
	}}})
	h := serve(a.Middleware(), func(*gin.Context) { close(started); <-finish })
	done := make(chan struct{})
	go func() { defer close(done); get(h, "") }()
	<-started
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	before := heap()
	for range 2000 {
		getIn(gone, h, "")
	}
	assert.Less(t, heap()-before, int64(5_000_000))
	close(finish)
	<-done
}

// A slow Tenant function delays no other request.
func TestSlowTenant(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	a := adaptive(t, ratelimit.AdaptiveConfig{Initial: 1, Min: 1, Max: 1, Wait: ratelimit.Wait{Max: time.Hour, Tenant: func(*gin.Context) (string, error) {
		close(entered)
		<-release
		return "a", nil
	}}})
	started, finish := make(chan struct{}), make(chan struct{})
	h := serve(a.Middleware(), func(c *gin.Context) {
		if c.GetHeader("X-User") == "first" {
			close(started)
			<-finish
		}
	})
	first := make(chan struct{})
	go func() { defer close(first); get(h, "first") }()
	<-started
	second := make(chan struct{})
	go func() { defer close(second); get(h, "a") }()
	<-entered
	close(finish)
	select {
	case <-first:
	case <-time.After(time.Second):
		t.Error("a request can't end while another's tenant is looked up")
	}
	close(release)
	<-first
	<-second
}

// First tokens without measurable time do not lower the limit for ever.
func TestFirstTokensInNoTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := adaptive(t, ratelimit.AdaptiveConfig{Initial: 2, Min: 1, Max: 10})
		h := serve(a.Middleware(), func(c *gin.Context) {
			c.Header("Content-Type", "text/event-stream")
			_, _ = c.Writer.WriteString("data: a\n\n")
		})
		for range 20 {
			get(h, "")
			time.Sleep(200 * time.Millisecond)
		}
		assert.Equal(t, 200, get(h, "").Code)
		assert.Positive(t, a.Limit())
	})
}

// panics is a store that panics from the third Take on.
type panics struct {
	*shared
	n atomic.Int64
}

func (p *panics) Take(ctx context.Context, charges []ratelimit.Charge) error {
	if p.n.Add(1) > 2 {
		panic(errors.New("a bug"))
	}
	return p.shared.Take(ctx, charges)
}

// A panic of the store behind the queue does not end the process.
func TestPanicBehindTheQueue(t *testing.T) {
	t.Parallel()
	if os.Getenv("GINFER_ATTACK") == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestAttackPanicBehindTheQueue$")
		cmd.Env = append(os.Environ(), "GINFER_ATTACK=1")
		out, err := cmd.CombinedOutput()
		assert.NoError(t, err, "%.300s", out)
		return
	}
	r := gin.New()
	r.Use(gin.RecoveryWithWriter(io.Discard), limiter(t, ratelimit.Config{
		Key: byUser, Rate: 2, Burst: 1, Store: over(t, &panics{shared: newShared(t)}, ratelimit.SharedConfig{Replicas: 1}), Lease: -1, Wait: ratelimit.Wait{Max: 10 * time.Second},
	}).Middleware())
	r.GET("/", func(*gin.Context) {})
	get(r, "a")
	assert.GreaterOrEqual(t, get(r, "a").Code, 500)
}

// Turns of a higher priority do not push new tenants behind all others.
func TestFairnessBelowPriority(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var order []string
		a := adaptive(t, ratelimit.AdaptiveConfig{Initial: 1, Min: 1, Max: 1, Wait: ratelimit.Wait{Max: time.Hour, Tenant: byUser, Priority: func(c *gin.Context) int {
			return strings.Count(c.GetHeader("X-User"), "!")
		}}})
		h := serve(a.Middleware(), func(c *gin.Context) {
			mu.Lock()
			order = append(order, c.GetHeader("X-User"))
			mu.Unlock()
			time.Sleep(time.Second)
		})
		var wg sync.WaitGroup
		enter := func(user string, n int) {
			for range n {
				wg.Go(func() { get(h, user) })
				synctest.Wait()
			}
		}
		enter("first", 1)
		enter("b", 10)
		enter("a!", 20)
		time.Sleep(20500 * time.Millisecond) // the last of a's is being served
		enter("c", 1)
		wg.Wait()
		require.Len(t, order, 32)
		assert.Contains(t, order[21:24], "c", "%v", order[21:])
	})
}

// A client disconnect ends the wait, also if the body was not read.
func TestDisconnectWithUnreadBody(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{}, 2)
	r := gin.New()
	r.Use(func(c *gin.Context) { c.Next(); ended <- struct{}{} },
		limiter(t, ratelimit.Config{Key: ratelimit.Global, Rate: 1, Burst: 1, Wait: ratelimit.Wait{Max: 5 * time.Second}}).Middleware())
	r.POST("/", func(*gin.Context) {})
	server := httptest.NewServer(r)
	defer server.Close()
	send := func(patience time.Duration) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL, strings.NewReader(question))
		require.NoError(t, err)
		if res, err := server.Client().Do(req); err == nil {
			_ = res.Body.Close()
		}
	}
	send(time.Minute)
	<-ended
	begin := time.Now()
	send(100 * time.Millisecond)
	<-ended
	assert.Less(t, time.Since(begin), 700*time.Millisecond, "it took the turn of a connected client")
}

// Under random clients and handlers no slot is lost or given twice.
func TestAdaptiveStress(t *testing.T) {
	t.Parallel()
	var now, peak atomic.Int64
	a := adaptive(t, ratelimit.AdaptiveConfig{Initial: 4, Min: 4, Max: 4, Wait: ratelimit.Wait{Max: 3 * time.Millisecond, Size: 8, Tenant: byUser}})
	r := gin.New()
	r.Use(gin.RecoveryWithWriter(io.Discard), a.Middleware())
	var n atomic.Int64
	r.GET("/", func(*gin.Context) {
		if in := now.Add(1); in > peak.Load() {
			peak.Store(in)
		}
		defer now.Add(-1)
		time.Sleep(time.Millisecond)
		if n.Add(1)%5 == 0 {
			panic("x")
		}
	})
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() {
			for j := range 50 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+(i+j)%4)*time.Millisecond)
				getIn(ctx, r, strconv.Itoa(i%3))
				cancel()
			}
		})
	}
	wg.Wait()
	assert.Zero(t, a.Inflight())
	assert.LessOrEqual(t, peak.Load(), int64(4))
	assert.Greater(t, n.Load(), int64(100))
}

// Client disconnects in the queue neither lose nor mint tokens.
func TestQueueStress(t *testing.T) {
	t.Parallel()
	for name, lease := range map[string]time.Duration{"no leases": -1, "leases": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShared(t)
			var admitted atomic.Int64
			h := serve(limiter(t, ratelimit.Config{
				Limits: []ratelimit.Limit{{Name: "user", Key: byUser, Rate: 400, Burst: 5}, {Name: "all", Key: ratelimit.Global, Rate: 1000, Burst: 10}},
				Store:  over(t, s, ratelimit.SharedConfig{Replicas: 1}), Lease: lease,
				Wait: ratelimit.Wait{Max: 20 * time.Millisecond, Size: 50, Tenant: byUser},
			}).Middleware(), func(*gin.Context) { admitted.Add(1) })
			begin := time.Now()
			var wg sync.WaitGroup
			for i := range 30 {
				wg.Go(func() {
					for j := range 40 {
						ctx, cancel := context.WithTimeout(t.Context(), time.Duration((i+j)%9)*time.Millisecond)
						getIn(ctx, h, strconv.Itoa(i%4))
						cancel()
					}
				})
			}
			wg.Wait()
			most := 10 + 1000*time.Since(begin).Seconds() + 1
			assert.LessOrEqual(t, float64(admitted.Load()), most)
			assert.Greater(t, float64(admitted.Load()), most/10)
		})
	}
}
