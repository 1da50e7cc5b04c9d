package cache_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/cache"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Concurrent requests share one lookup in L2.
func TestLookupIsShared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFar(t)
		u := responds(200, chatJSON, "Content-Type", jsonType)
		start := func() (*cache.Cache, *gin.Engine) {
			c := newCache(t, cache.Config{Store: tiered(t, cache.TieredConfig{L2: f}), Beta: -1})
			return c, app(c, u.serve)
		}
		here, one := start()
		_, two := start()
		post(one, chatPlain)
		require.NoError(t, here.Drain(t.Context()))
		f.set(nil, 10*time.Millisecond, false)
		before, _ := f.counts()
		together(100, func(i int) {
			body := []string{chatPlain, chatStream}[i%2]
			assert.Contains(t, status(post(two, body)), "; hit")
		})
		after, _ := f.counts()
		require.Equal(t, 1, after-before)
		require.EqualValues(t, 1, u.calls.Load())
	})
}

// A leader that revalidates a stale entry does so for all its followers.
func TestRevalidationIsShared(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		serve gin.HandlerFunc
		mark  string
	}{
		"not modified": {func(c *gin.Context) { c.Status(http.StatusNotModified) }, "hit; ttl=9"},
		"an error":     {func(c *gin.Context) { c.Status(http.StatusBadGateway) }, "hit; ttl=-2; detail=stale-if-error"},
		"a panic":      {func(*gin.Context) { panic("x") }, "hit; ttl=-2; detail=stale-if-error"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				u := &upstream{}
				u.handle = func(c *gin.Context) {
					if u.calls.Load() == 1 {
						c.Header("ETag", `"a"`)
						c.Header("Cache-Control", "max-age=10, stale-if-error=60")
						c.String(200, "body")
						return
					}
					time.Sleep(time.Second)
					tt.serve(c)
				}
				r := gin.New()
				r.GET("/", apierror.Recovery(nil), newCache(t, cache.Config{Beta: -1}).Middleware(), u.serve)
				get(r, "/")
				time.Sleep(11 * time.Second)
				var wg sync.WaitGroup
				wg.Go(func() { get(r, "/") })
				synctest.Wait()
				for range 20 {
					wg.Go(func() {
						w := get(r, "/")
						assert.Equal(t, "body", w.Body.String())
						assert.Contains(t, status(w), tt.mark)
					})
				}
				wg.Wait()
				require.EqualValues(t, 2, u.calls.Load())
			})
		})
	}
}

// Followers want another form, and there is none.
func TestFollowersOfAMissingForm(t *testing.T) {
	t.Parallel()
	all := events("a", "b")
	for name, tt := range map[string]struct {
		first func(c *gin.Context)
		calls int64
	}{
		"cut": {func(c *gin.Context) { apierror.Cut(c, errors.New("x")) }, 2},
		"too long": {func(c *gin.Context) {
			_, _ = c.Writer.WriteString(strings.Repeat(all[1], 20))
			_, _ = c.Writer.WriteString(all[3] + all[4])
		}, 6},
		"without another form": {func(c *gin.Context) {
			_, _ = c.Writer.WriteString(strings.Replace(all[1], `"content"`, `"audio"`, 1) + all[3] + all[4])
		}, 6},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				u := &upstream{}
				u.handle = func(c *gin.Context) {
					time.Sleep(time.Second)
					if u.calls.Load() > 1 {
						c.Data(200, jsonType, []byte(strings.Replace(chatJSON, "%d", "1", 1)))
						return
					}
					c.Header("Content-Type", "text/event-stream")
					_, _ = c.Writer.WriteString(all[0])
					c.Writer.Flush()
					time.Sleep(time.Second)
					tt.first(c)
				}
				r := app(newCache(t, cache.Config{MaxEntry: 2000}), u.serve)
				var wg sync.WaitGroup
				wg.Go(func() { post(r, chatStream) })
				synctest.Wait()
				for range 5 {
					wg.Go(func() {
						w := post(r, chatPlain)
						assert.Equal(t, 200, w.Code)
						assert.Contains(t, w.Body.String(), `"Hello"`)
					})
				}
				wg.Wait()
				require.Equal(t, tt.calls, u.calls.Load())
			})
		})
	}
}

// A follower may disconnect while it waits, without harm to the others.
func TestFollowerDisconnectsWhileItWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		u := &upstream{handle: func(c *gin.Context) {
			time.Sleep(time.Second)
			c.Header("Content-Type", "text/event-stream")
			_, _ = c.Writer.WriteString(events("a")[0])
			time.Sleep(time.Second)
			_, _ = c.Writer.WriteString(strings.Join(events("a")[1:], ""))
		}}
		r := app(newCache(t, cache.Config{}), u.serve)
		var wg sync.WaitGroup
		wg.Go(func() { assert.Equal(t, strings.Join(events("a"), ""), post(r, chatStream).Body.String()) })
		synctest.Wait()
		for _, wait := range []time.Duration{500 * time.Millisecond, 1500 * time.Millisecond} {
			for _, body := range []string{chatPlain, chatStream} {
				wg.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), wait)
					defer cancel()
					start := time.Now()
					do(r, request(http.MethodPost, chatPath, body).WithContext(ctx))
					assert.Equal(t, wait, time.Since(start))
				})
			}
		}
		wg.Wait()
		require.EqualValues(t, 1, u.calls.Load())
		require.True(t, isHit(r, chatPlain))
	})
}

// A panic of a writer before the cache continues on the goroutine of the handlers.
func TestWriterPanics(t *testing.T) {
	t.Parallel()
	r := gin.New()
	caught := false
	r.POST(chatPath, func(c *gin.Context) {
		defer func() { caught = recover() != nil }()
		c.Writer = &touchy{c.Writer}
		c.Next()
	}, newCache(t, cache.Config{}).Middleware(), streams(events("a")...).serve)
	post(r, chatStream)
	require.True(t, caught)
}

type touchy struct{ gin.ResponseWriter }

func (*touchy) Write([]byte) (int, error) { panic("touchy") }

// A request body that was too long to buffer can still be read behind the cache, with its
// deadlines.
func TestLongRequestsPass(t *testing.T) {
	t.Parallel()
	long := strings.Replace(chatPlain, "Hi", strings.Repeat("Hi ", 1000), 1)
	u := &upstream{handle: func(c *gin.Context) {
		body, err := io.ReadAll(c.Request.Body)
		assert.NoError(t, err)
		assert.NoError(t, http.NewResponseController(c.Writer).SetReadDeadline(time.Now().Add(time.Minute)))
		c.String(200, "%d", len(body))
	}}
	s := serve(t, app(newCache(t, cache.Config{MaxRequest: 100}), u.serve))
	_, got, err := whole(t, s, long)
	require.NoError(t, err)
	require.Equal(t, strconv.Itoa(len(long)), got)
	s = serve(t, app(newCache(t, cache.Config{}), u.serve))
	_, got, err = whole(t, s, long)
	require.NoError(t, err)
	require.Equal(t, strconv.Itoa(len(long)), got)
}

// Not all changed addresses are remembered; entries that are older than a forgotten change
// are not used.
func TestManyChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := app(newCache(t, cache.Config{Beta: -1}), mirror().serve)
		get(r, "/old")
		time.Sleep(time.Second)
		for i := range 10_050 {
			do(r, request(http.MethodPut, "/"+strings.Repeat("x", i%50)+string(rune('a'+i%26))+time.Now().Add(time.Duration(i)).Format("05.000000000"), ""))
		}
		require.Contains(t, status(get(r, "/old")), "fwd=uri-miss")
		time.Sleep(time.Second)
		get(r, "/new")
		require.Contains(t, status(get(r, "/new")), "; hit")
	})
}
