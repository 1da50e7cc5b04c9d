package cache_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/cache"
	"github.com/stretchr/testify/require"
)

// RFC 5861: a stale response is used during a refresh.
func TestStaleWhileRevalidate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &log{}
		u := &upstream{}
		u.handle = func(c *gin.Context) {
			time.Sleep(2 * sec)
			c.Header("Cache-Control", "max-age=10, stale-while-revalidate=20")
			c.String(200, "%d", u.calls.Load())
		}
		c := newCache(t, cache.Config{OnEvent: l.On, Beta: -1})
		r := app(c, u.serve)
		require.Equal(t, "1", get(r, "/").Body.String())
		time.Sleep(15 * sec)
		for range 5 { // one of them starts a refresh
			start := time.Now()
			w := get(r, "/")
			require.Equal(t, "1", w.Body.String())
			require.Equal(t, "ginfer; hit; ttl=-7; detail=stale-while-revalidate", status(w))
			require.Zero(t, time.Since(start))
		}
		require.NoError(t, c.Drain(t.Context()))
		w := get(r, "/")
		require.Equal(t, "2", w.Body.String())
		require.Contains(t, status(w), "; hit;")
		require.EqualValues(t, 2, u.calls.Load())
		require.Len(t, l.of(cache.Refreshed), 1)
		time.Sleep(31 * sec)
		require.Equal(t, "3", get(r, "/").Body.String(), "too stale")
	})
}

func TestStaleIfError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fail := false
		u := &upstream{}
		u.handle = func(c *gin.Context) {
			if fail && u.calls.Load() == 3 {
				panic("x")
			}
			if fail {
				c.String(503, "down")
				return
			}
			c.Header("Cache-Control", "max-age=10, stale-if-error=60")
			c.String(200, "%d", u.calls.Load())
		}
		r := gin.New()
		r.GET("/", gin.CustomRecoveryWithWriter(nil, func(c *gin.Context, _ any) { c.AbortWithStatus(500) }), newCache(t, cache.Config{Beta: -1}).Middleware(), u.serve)
		get(r, "/")
		time.Sleep(11 * sec)
		fail = true
		w := get(r, "/")
		require.Equal(t, 200, w.Code)
		require.Equal(t, "1", w.Body.String())
		require.Equal(t, "ginfer; fwd=stale; fwd-status=503; detail=stale-if-error", status(w))
		require.Equal(t, 500, get(r, "/").Code, "a panic is only the leader's")
		time.Sleep(60 * sec)
		require.Equal(t, 503, get(r, "/").Code)
		fail = false
		require.Equal(t, "5", get(r, "/").Body.String())
	})
}

// The probability of an early refresh grows towards the end.
func TestEarlyRefresh(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		u := &upstream{}
		u.handle = func(c *gin.Context) {
			time.Sleep(sec)
			c.Header("Cache-Control", "max-age=60")
			c.String(200, "%d", u.calls.Load())
		}
		c := newCache(t, cache.Config{})
		r := app(c, u.serve)
		get(r, "/")
		time.Sleep(25 * sec)
		for range 1000 {
			get(r, "/")
		}
		require.EqualValues(t, 1, u.calls.Load(), "far from its end")
		time.Sleep(33 * sec)
		for range 1000 { // half a second before it
			require.Contains(t, status(get(r, "/")), "; hit;")
		}
		require.NoError(t, c.Drain(t.Context()))
		require.EqualValues(t, 2, u.calls.Load())
		require.Equal(t, "2", get(r, "/").Body.String())
	})
}

// A refresh that fails changes nothing.
func TestFailedRefresh(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]gin.HandlerFunc{
		"an error": func(c *gin.Context) { c.String(500, "x") },
		"a panic":  func(*gin.Context) { panic("x") },
		"abort":    func(*gin.Context) { panic(http.ErrAbortHandler) },
		"silence":  func(c *gin.Context) { <-c.Request.Context().Done() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				u := &upstream{}
				u.handle = func(c *gin.Context) {
					if u.calls.Load() > 1 {
						fail(c)
						return
					}
					c.Header("Cache-Control", "max-age=10, stale-while-revalidate=600")
					c.String(200, "1")
				}
				c := newCache(t, cache.Config{RefreshTimeout: 30 * sec, Beta: -1})
				r := app(c, u.serve)
				get(r, "/")
				time.Sleep(11 * sec)
				for range 3 {
					require.Equal(t, "1", get(r, "/").Body.String())
					require.NoError(t, c.Drain(t.Context()))
				}
				require.EqualValues(t, 4, u.calls.Load())
			})
		})
	}
}

// A thousand requests with an unshareable response do not wait for each other.
func TestPrivateResponsesAreNotCoalesced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		u := &upstream{}
		u.handle = func(c *gin.Context) {
			time.Sleep(sec)
			c.Header("Cache-Control", "private, max-age=60")
			c.String(200, "for %s", c.GetHeader("X-User"))
		}
		r := app(newCache(t, cache.Config{}), u.serve)
		for range 2 {
			start := time.Now()
			done := make(chan string, 100)
			for i := range 100 {
				go func() {
					user := strconv.Itoa(i)
					w := get(r, "/", "X-User", user)
					if w.Body.String() != "for "+user {
						done <- w.Body.String()
						return
					}
					done <- ""
				}()
			}
			for range 100 {
				require.Empty(t, <-done)
			}
			require.LessOrEqual(t, time.Since(start), 2*sec)
		}
		start := time.Now()
		get(r, "/")
		require.Equal(t, sec, time.Since(start))
	})
}

// Concurrent requests of several variants are one call each.
func TestVariantsCoalesce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		u := &upstream{}
		u.handle = func(c *gin.Context) {
			time.Sleep(sec)
			c.Header("Cache-Control", "max-age=60")
			c.Header("Vary", "Accept-Language")
			c.String(200, "in %s", c.GetHeader("Accept-Language"))
			c.Writer.Flush()
			time.Sleep(sec)
		}
		r := app(newCache(t, cache.Config{}), u.serve)
		languages := strings.Fields("de en fr")
		done := make(chan error, 90)
		for i := range 90 {
			go func() {
				language := languages[i%3]
				if got := get(r, "/", "Accept-Language", language).Body.String(); got != "in "+language {
					done <- fmt.Errorf("%s got %s", language, got)
					return
				}
				done <- nil
			}()
		}
		for range 90 {
			require.NoError(t, <-done)
		}
		require.EqualValues(t, 3, u.calls.Load())
		require.Contains(t, status(get(r, "/", "Accept-Language", "fr")), "; hit;")
	})
}

// A response that was requested before a change is not used after it.
func TestChangeDuringAFetch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		u := &upstream{}
		u.handle = func(c *gin.Context) {
			if c.Request.Method == http.MethodPut {
				return
			}
			time.Sleep(2 * sec)
			c.Header("Cache-Control", "max-age=60")
			c.String(200, "%d", u.calls.Load())
		}
		r := app(newCache(t, cache.Config{}), u.serve)
		done := make(chan struct{})
		go func() { defer close(done); get(r, "/") }()
		time.Sleep(sec)
		do(r, request(http.MethodPut, "/", ""))
		<-done
		require.Contains(t, status(get(r, "/")), "fwd=uri-miss")
		require.Contains(t, status(get(r, "/")), "; hit;")
	})
}
