package breaker_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/breaker"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// pour sends a hundred requests per second, without waiting for responses.
func pour(rt http.RoundTripper, d time.Duration) {
	var wg sync.WaitGroup
	for range int(d / (10 * time.Millisecond)) {
		time.Sleep(10 * time.Millisecond)
		wg.Go(func() { _, _ = send(context.Background(), rt) })
	}
	wg.Wait()
}

// A server that refuses all new requests, while its older streams succeed, opens within a second.
func TestOldSuccessesDoNotHideAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, seen := group(t, own)
		u := &upstream{respond: func(*http.Request) (*http.Response, error) { time.Sleep(5 * time.Second); return good(nil) }}
		rt := g.Transport(u)
		var wg sync.WaitGroup
		wg.Go(func() { pour(rt, 10*time.Second) })
		time.Sleep(10*time.Second + 5*time.Millisecond) // between what ends well
		u.set(refused)
		pour(rt, time.Second)
		assert.Equal(t, []string{"consecutive"}, seen.reasons())
		wg.Wait()
		assert.Equal(t, breaker.Open, state(t, g).State)
	})
}

// Few failures do not open, however late the successes between them come: when the first
// failures come the successes are not known yet.
func TestFewFailuresAreNoOutage(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		percent int
		takes   time.Duration
	}{{30, 10 * time.Millisecond}, {30, 100 * time.Millisecond}, {10, time.Second}, {10, 30 * time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			g, seen := group(t, own)
			random := rand.New(rand.NewPCG(1, 2))
			var mu sync.Mutex
			pour(g.Transport(&upstream{respond: func(*http.Request) (*http.Response, error) {
				mu.Lock()
				fails := random.IntN(100) < tt.percent
				mu.Unlock()
				if fails {
					return refused(nil)
				}
				time.Sleep(tt.takes)
				return good(nil)
			}}), time.Minute)
			assert.Empty(t, seen.reasons(), "%d %% fail, others take %v", tt.percent, tt.takes)
		})
	}
}

// When the load ends, and one in ten of many streams is cut, that is no outage.
func TestStreamsThatEndAfterTheLoad(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, seen := group(t, own)
		pour(g.Transport(&upstream{respond: func(*http.Request) (*http.Response, error) {
			time.Sleep(10*time.Second + rand.N(10*time.Second))
			if rand.N(10) == 0 {
				return refused(nil)
			}
			return good(nil)
		}}), 9*time.Second)
		assert.Empty(t, seen.reasons())
	})
}

// A cooldown is that of one endpoint.
func TestRestIsOneCircuits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, _ := group(t, own)
		rt := g.Transport(&upstream{respond: func(r *http.Request) (*http.Response, error) {
			if r.URL.Host == "a" {
				return respondWith(429, "application/json", "", "Retry-After", "7")(r)
			}
			return good(r)
		}})
		trip := func(host string) error {
			res, err := rt.RoundTrip(httptest.NewRequest(http.MethodGet, "http://"+host+"/", nil))
			if err == nil {
				err = res.Body.Close()
			}
			return err
		}
		require.NoError(t, trip("a"))
		require.NoError(t, trip("b"))
		require.ErrorIs(t, trip("a"), breaker.ErrCoolingDown)
		require.NoError(t, trip("b"))
		time.Sleep(7 * time.Second)
		require.NoError(t, trip("a"))
		for _, s := range g.Status() {
			assert.Equal(t, breaker.Closed, s.State)
		}
	})
}

// Neutral results neither close nor open a recovering circuit; time passes.
func TestRampIgnoresWhatSaysNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, seen := group(t, own)
		u := &upstream{respond: refused}
		rt := pooled{g.Transport(u)}
		many(rt, 10)
		u.set(missing)
		time.Sleep(6 * time.Second)
		pour(rt, 19*time.Second)
		assert.Equal(t, []string{"consecutive", "slept"}, seen.reasons())
		pour(rt, 2*time.Second)
		assert.Equal(t, []string{"consecutive", "slept", "recovered"}, seen.reasons(), "four steps of five seconds")
	})
}

// boldly makes a request and swallows panics; the client may have left.
func boldly(ctx context.Context, h http.Handler, left bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if left {
		cancel()
	}
	defer func() { _ = recover() }()
	ask(ctx, h)
}

// Handlers that panic free their place, whatever the panic; after a client disconnect it counts
// neither way.
func TestMiddlewarePanics(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		value any
		wrote bool
		left  bool
		opens bool
	}{
		"an error":               {value: errors.New("x"), opens: true},
		"broken off":             {value: http.ErrAbortHandler, opens: true},
		"broken off in a stream": {value: http.ErrAbortHandler, wrote: true, opens: true},
		"the client has left":    {value: http.ErrAbortHandler, wrote: true, left: true},
	} {
		for _, cfg := range []breaker.MiddlewareConfig{{}, {Timeout: time.Minute, Fallback: fallback}} {
			synctest.Test(t, func(t *testing.T) {
				g, _ := group(t, breaker.Settings{FailurePercent: -1, Consecutive: 10, MaxConcurrent: 1})
				h := serve(g, cfg, func(c *gin.Context) {
					if tt.wrote {
						_, _ = c.Writer.WriteString("data: a\n\n")
					}
					panic(tt.value)
				})
				for range 10 {
					boldly(t.Context(), h, tt.left)
				}
				assert.Zero(t, state(t, g).Inflight, name)
				assert.Equal(t, tt.opens, state(t, g).State == breaker.Open, name)
			})
		}
	}
}

// Settings may change under load, and permits in progress stay counted.
func TestUpdateUnderLoad(t *testing.T) {
	t.Parallel()
	g, _ := group(t, breaker.Settings{})
	u := &upstream{respond: func(*http.Request) (*http.Response, error) {
		if rand.N(3) == 0 {
			return bad(nil)
		}
		return good(nil)
	}}
	rt := g.Transport(u)
	var load, change sync.WaitGroup
	done := make(chan struct{})
	change.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			if err := g.Update(breaker.Settings{MaxConcurrent: i%3 - 1, Consecutive: i%7 - 1, Volume: 1 + i%5, FailurePercent: i%90 - 1, Sleep: time.Millisecond, Step: time.Millisecond, SlowFirstByte: time.Duration(i % 2)}); err != nil {
				t.Error(err)
			}
			g.Status()
		}
	})
	for range 4 {
		load.Go(func() { many(rt, 2000) })
	}
	load.Wait()
	close(done)
	change.Wait()
	assert.Zero(t, state(t, g).Inflight)
	u.set(good)
	require.NoError(t, g.Update(breaker.Settings{Sleep: time.Millisecond, Step: time.Millisecond}))
	require.Eventually(t, func() bool { many(rt, 10); return state(t, g).State == breaker.Closed }, 10*time.Second, time.Millisecond)
}
