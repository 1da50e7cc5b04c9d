package observe_test

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/observe"
	"github.com/ginfer/ginfer/observe/events"
	"github.com/ginfer/ginfer/proxy"
	"github.com/ginfer/ginfer/routing"
	"github.com/ginfer/ginfer/stream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func newLive(tb testing.TB, cfg observe.LiveConfig) *observe.Live {
	tb.Helper()
	live, err := observe.NewLive(cfg)
	require.NoError(tb, err)
	return live
}

// streamed returns a handler of a version's stream with a first token and usage.
func streamed(version string, first time.Duration, input, output int64) gin.HandlerFunc {
	return func(c *gin.Context) {
		ctx := c.Request.Context()
		events.Hooks{}.Routing(ctx, routing.Event{Kind: routing.Decided, Model: "m", Version: version})
		time.Sleep(first)
		events.Hooks{}.Usage(ctx, stream.Usage{Stream: true, Events: 1, Input: input, Output: output})
		events.Hooks{}.Proxy(ctx, proxy.Event{Kind: proxy.Finished, Attempt: 1, FirstByte: first, Duration: first})
	}
}

func respondWith(status int) gin.HandlerFunc { return func(c *gin.Context) { c.Status(status) } }

func TestLiveFigures(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		live := newLive(t, observe.LiveConfig{})
		for second := range 12 {
			for range 4 {
				ask(post(), live.Middleware(), streamed("v1", 100*time.Millisecond, 30, 50))
			}
			ask(post(), live.Middleware(), streamed("v2", 400*time.Millisecond, 10, 20))
			ask(post(), live.Middleware(), respondWith(http.StatusBadGateway))
			ask(post(), live.Middleware(), respondWith(http.StatusTooManyRequests))
			time.Sleep(200 * time.Millisecond)
			if second == 0 {
				assert.InDelta(t, 7, live.Snapshot().Requests, 1e-9, "averaged over what there is")
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		ask(post().WithContext(ctx), live.Middleware(), respondWith(http.StatusOK))

		now := live.Snapshot()
		assert.Equal(t, time.Now().Unix(), now.Time)
		assert.Zero(t, now.Inflight)
		assert.InDelta(t, 7, now.Requests, 1e-9, "whole seconds alone")
		assert.InDelta(t, 5, now.Success, 1e-9)
		assert.InDelta(t, 1, now.Failure, 1e-9)
		assert.InDelta(t, 1, now.Refused, 1e-9)
		assert.Zero(t, now.Canceled)
		assert.InDelta(t, 130, now.InputTokens, 1e-9)
		assert.InDelta(t, 220, now.OutputTokens, 1e-9)
		assert.EqualValues(t, 50, now.FirstToken.Count)
		assert.InEpsilon(t, 100, now.FirstToken.P50, 0.032)
		assert.InEpsilon(t, 400, now.FirstToken.P95, 0.032)

		require.Len(t, now.Versions, 3)
		none, v1, v2 := now.Versions[0], now.Versions[1], now.Versions[2]
		assert.Equal(t, []string{"", "v1", "v2"}, []string{none.Version, v1.Version, v2.Version})
		assert.InDelta(t, 1, none.Failure, 1e-9)
		assert.InDelta(t, 4, v1.Success, 1e-9)
		assert.InEpsilon(t, 100, v1.FirstToken.P95, 0.032)
		assert.InDelta(t, 20, v2.OutputTokens, 1e-9)
		assert.InEpsilon(t, 400, v2.FirstToken.P50, 0.032)

		time.Sleep(time.Second)
		assert.InDelta(t, 0.1, live.Snapshot().Canceled, 1e-9, "the client left")
		time.Sleep(11 * time.Second)
		assert.Zero(t, live.Snapshot().Requests)
		assert.Len(t, live.Snapshot().Versions, 3, "they are still known")
		time.Sleep(time.Minute)
		assert.Empty(t, live.Snapshot().Versions)
	})
}

func TestLiveHistory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		live := newLive(t, observe.LiveConfig{Window: 5 * time.Second, Average: 2 * time.Second})
		assert.Empty(t, live.History())
		for range 20 { // the ring wraps around
			ask(post(), live.Middleware(), streamed("v", 5*time.Millisecond, 1, 1))
			time.Sleep(995 * time.Millisecond)
		}
		time.Sleep(time.Second)
		points := live.History()
		require.Len(t, points, 5)
		for i, p := range points {
			assert.Equal(t, time.Now().Unix()-4+int64(i), p.Time)
			want := 1.0
			if i == 4 {
				want = 0.5 // the last second was idle
			}
			assert.InDelta(t, want, p.Requests, 1e-9)
			assert.InEpsilon(t, 5, p.FirstToken.P50, 0.032)
		}
		assert.Equal(t, points[4].LiveFigures, live.Snapshot().LiveFigures)
	})
}

// Requests under way count for the version that is selected by now.
func TestLiveInflight(t *testing.T) {
	t.Parallel()
	live := newLive(t, observe.LiveConfig{Versions: 1})
	ask(post(), live.Middleware(), func(c *gin.Context) {
		assert.Equal(t, 1, live.Snapshot().Inflight)
		streamed("a", 0, 1, 1)(c)
		ask(post(), live.Middleware(), func(c *gin.Context) {
			streamed("b", 0, 1, 1)(c)
			now := live.Snapshot()
			assert.Equal(t, 2, now.Inflight)
			if assert.Len(t, now.Versions, 2) {
				assert.Equal(t, "a", now.Versions[0].Version)
				assert.Equal(t, 1, now.Versions[0].Inflight)
				assert.Equal(t, "other", now.Versions[1].Version, "beyond the bound")
			}
		})
	})
	assert.Zero(t, live.Snapshot().Inflight)
	assert.Panics(t, func() { ask(post(), live.Middleware(), func(*gin.Context) { panic("x") }) })
	now := live.Snapshot()
	assert.Zero(t, now.Inflight, "nor after a panic")
}

// The number of versions is bounded; an idle one makes room.
func TestLiveVersionsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		live := newLive(t, observe.LiveConfig{Versions: 3})
		for i := range 100 {
			ask(post(), live.Middleware(), streamed(fmt.Sprintf("v%02d", i), 0, 1, 1))
		}
		time.Sleep(time.Second)
		named := func() (names []string) {
			for _, v := range live.Snapshot().Versions {
				names = append(names, v.Version)
			}
			return names
		}
		assert.Equal(t, []string{"other", "v00", "v01", "v02"}, named())
		assert.InDelta(t, 97, live.Snapshot().Versions[0].Requests, 1e-9)
		time.Sleep(2 * time.Minute)
		ask(post(), live.Middleware(), streamed("new", 0, 1, 1))
		assert.Equal(t, []string{"new"}, named())
	})
}

// The error of a quantile is within the documented bounds.
func TestLiveFirstTokenError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for d := 20 * time.Microsecond; d < 131*time.Second; d = d * 107 / 100 {
			live := newLive(t, observe.LiveConfig{})
			ask(post(), live.Middleware(), streamed("v", d, 1, 1))
			time.Sleep(time.Second)
			want := float64(d) / float64(time.Millisecond)
			require.InDelta(t, want, live.Snapshot().FirstToken.P50, math.Max(want*0.032, 0.04), d)
		}
		live := newLive(t, observe.LiveConfig{})
		ask(post(), live.Middleware(), streamed("v", time.Hour, 1, 1))
		time.Sleep(time.Second)
		assert.InDelta(t, 131_072, live.Snapshot().FirstToken.P95, 5000)
	})
}

func TestLiveConfig(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]observe.LiveConfig{
		"window": {Window: -1}, "too short": {Window: time.Millisecond}, "too long": {Window: 2 * time.Hour},
		"average": {Average: -1}, "longer than window": {Average: 2 * time.Minute}, "versions": {Versions: -1}, "too many": {Versions: 1001},
	} {
		_, err := observe.NewLive(cfg)
		require.Error(t, err, name)
	}
	live := newLive(t, observe.LiveConfig{Window: 5 * time.Second})
	assert.NotNil(t, live, "the average is then no longer than that")
}

func TestLiveConcurrent(t *testing.T) {
	t.Parallel()
	live := newLive(t, observe.LiveConfig{Versions: 2})
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 200 {
				ask(post(), live.Middleware(), streamed(fmt.Sprint("v", (w+i)%4), 0, 1, 1))
				if i%20 == 0 {
					live.Snapshot()
					live.History()
				}
			}
		})
	}
	wg.Wait()
	assert.Zero(t, live.Snapshot().Inflight)
}

func TestRecentNewest(t *testing.T) {
	t.Parallel()
	recent := newRecent(t, observe.RecentConfig{Size: 3})
	for i := range 5 {
		ask(post(), recent.Middleware(), observe.Route(strconv.Itoa(i)), streamed("<b>v</b>", 0, 3, 4))
	}
	ask(post(), recent.Middleware(), observe.Route("bad"), respondWith(http.StatusBadGateway))
	got := recent.Newest(2)
	require.Len(t, got, 2)
	assert.Equal(t, "bad", got[0].Route)
	assert.Equal(t, "failure", got[0].Outcome)
	assert.Equal(t, "502", got[0].Error)
	assert.Equal(t, "4", got[1].Route)
	assert.Equal(t, "<b>v</b>", got[1].Version)
	assert.EqualValues(t, 4, got[1].Output)
	assert.Len(t, recent.Newest(100), 3)
	assert.Empty(t, recent.Newest(-1))
}

func ExampleNewLive() {
	live, err := observe.NewLive(observe.LiveConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	r := gin.New()
	r.GET("/", live.Middleware(), func(c *gin.Context) {
		fmt.Println(live.Snapshot().Inflight, "under way")
	})
	r.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", http.NoBody))
	fmt.Println(live.Snapshot().Requests, "a second")
	// Output:
	// 1 under way
	// 1 a second
}

// The first of the package's middlewares creates the record: the cost of Live in a chain is
// the difference to "recent".
func BenchmarkLive(b *testing.B) {
	recent, err := observe.NewRecent(observe.RecentConfig{})
	require.NoError(b, err)
	live := newLive(b, observe.LiveConfig{})
	nothing := func(*gin.Context) {}
	b.Run("alone", func(b *testing.B) { chain(b, nothing, live.Middleware()) })
	b.Run("recent", func(b *testing.B) { chain(b, nothing, recent.Middleware()) })
	b.Run("recent and live", func(b *testing.B) { chain(b, nothing, recent.Middleware(), live.Middleware()) })
	b.Run("snapshot", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			live.Snapshot()
		}
	})
	b.Run("history", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			live.History()
		}
	})
}

// waiting is a stream that is queued for 10 s and then takes 20 s for 400 tokens in 201
// events.
func waiting(c *gin.Context) {
	ctx := c.Request.Context()
	events.Hooks{}.Routing(ctx, routing.Event{Kind: routing.Decided, Model: "m", Version: "v"})
	time.Sleep(10 * time.Second)
	for range 200 {
		time.Sleep(100 * time.Millisecond)
		events.Hooks{}.Token(ctx, 100*time.Millisecond)
	}
	events.Hooks{}.Usage(ctx, stream.Usage{Stream: true, Events: 201, Output: 400})
	events.Hooks{}.Proxy(ctx, proxy.Event{Kind: proxy.Finished, Attempt: 1, FirstByte: 10 * time.Second, Duration: 30 * time.Second})
}

// total returns the number of tokens of the last minute.
func total(live *observe.Live) (n float64) {
	for _, p := range live.History() {
		n += p.OutputTokens
	}
	return n
}

// Tokens count as they arrive, by the events; all of them have counted at the end.
func TestLiveTokensWhileTheyCome(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		live := newLive(t, observe.LiveConfig{Average: time.Second})
		go ask(post(), live.Middleware(), waiting)
		for second := 1; second < 29; second++ {
			time.Sleep(time.Second)
			now := live.Snapshot()
			switch {
			case second <= 10:
				assert.Zero(t, now.OutputTokens, "it waits")
			case second > 12:
				assert.InDelta(t, 10, now.OutputTokens, 1.1, "after %d s", second)
				assert.InDelta(t, 10, now.Versions[0].OutputTokens, 1.1)
			}
		}
		time.Sleep(4 * time.Second)
		assert.InDelta(t, 400, total(live), 1e-9)
	})
}

// Without a Snapshot in between, they are spread over the duration of their stream.
func TestLiveTokensAfterwards(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		live := newLive(t, observe.LiveConfig{Average: time.Second})
		ask(post(), live.Middleware(), waiting)
		time.Sleep(2 * time.Second)
		history := live.History()
		require.Len(t, history, 32)
		for _, p := range history[12:29] {
			assert.InDelta(t, 20, p.OutputTokens, 2)
		}
		assert.Zero(t, history[5].OutputTokens, "it waited")
		assert.InDelta(t, 400, total(live), 1e-9)
	})
}
