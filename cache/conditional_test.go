package cache_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/cache"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// tagged is an upstream that takes two seconds for a response with an ETag, of which it
// sends one half after the first.
func tagged(size int, header ...string) *upstream {
	return &upstream{handle: func(c *gin.Context) {
		c.Header("Cache-Control", "max-age=60")
		c.Header("ETag", `"v1"`)
		for i := 0; i+1 < len(header); i += 2 {
			c.Header(header[i], header[i+1])
		}
		time.Sleep(time.Second)
		_, _ = c.Writer.WriteString(strings.Repeat("x", size/2))
		c.Writer.Flush()
		time.Sleep(time.Second)
		_, _ = c.Writer.WriteString(strings.Repeat("x", size-size/2))
	}}
}

// Concurrent requests for one address are one call, and each gets what its own conditions
// ask for.
func TestConditionalRequestsAreCoalesced(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		size   int
		header []string
	}{
		"short":  {size: 100},
		"long":   {size: 600 << 10},
		"stream": {size: 100, header: []string{"Content-Type", "text/event-stream"}},
	} {
		for _, leads := range []bool{true, false} { // the conditional request
			synctest.Test(t, func(t *testing.T) {
				u, l := tagged(tt.size, tt.header...), &log{}
				r := app(newCache(t, cache.Config{OnEvent: l.On}), u.serve)
				var full, conditional *httptest.ResponseRecorder
				var wg sync.WaitGroup
				start := func(conditionally bool) {
					wg.Go(func() {
						if conditionally {
							conditional = get(r, "/", "If-None-Match", `"v0", W/"v1"`)
						} else {
							full = get(r, "/")
						}
					})
					time.Sleep(100 * time.Millisecond)
				}
				start(leads)
				start(!leads)
				wg.Wait()
				assert.EqualValues(t, 1, u.calls.Load(), name)
				assert.Len(t, l.of(cache.Coalesced), 1, name)
				assert.Equal(t, http.StatusOK, full.Code, name)
				assert.Equal(t, tt.size, full.Body.Len(), name)
				assert.Equal(t, http.StatusNotModified, conditional.Code, name)
				assert.Equal(t, `"v1"`, conditional.Header().Get("ETag"), name)
				assert.Zero(t, conditional.Body.Len(), name)
				assert.Empty(t, conditional.Header().Get("Content-Type"), name)
				follower := conditional
				if leads {
					follower = full
				}
				assert.Equal(t, "ginfer; fwd=uri-miss; collapsed", status(follower), name)
				assert.Equal(t, http.StatusNotModified, get(r, "/", "If-None-Match", `"v1"`).Code, "%s: from the entry", name)
			})
		}
	}
}

// The upstream never sees the conditions of the client, which it could only confirm for
// that client.
func TestConditionsAreNotForwarded(t *testing.T) {
	t.Parallel()
	u := &upstream{handle: func(c *gin.Context) {
		assert.Empty(t, c.GetHeader("If-None-Match"))
		assert.Empty(t, c.GetHeader("If-Modified-Since"))
		c.Header("ETag", `"v2"`)
		c.String(http.StatusOK, "x")
	}}
	r := app(newCache(t, cache.Config{}), u.serve)
	w := get(r, "/", "If-None-Match", `"v1"`, "If-Modified-Since", time.Now().UTC().Format(http.TimeFormat))
	require.Equal(t, http.StatusOK, w.Code)
	require.EqualValues(t, 1, u.calls.Load())
}

// A 304 with no-store confirms the entry for one request, not for a time.
func TestRevalidationWithNoStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		u := &upstream{}
		u.handle = func(c *gin.Context) {
			c.Header("ETag", `"v1"`)
			if c.GetHeader("If-None-Match") != "" {
				c.Header("Cache-Control", "no-store")
				c.Status(http.StatusNotModified)
				return
			}
			c.Header("Cache-Control", "max-age=10")
			c.String(http.StatusOK, "%d", u.calls.Load())
		}
		r := app(newCache(t, cache.Config{}), u.serve)
		require.Equal(t, "1", get(r, "/").Body.String())
		time.Sleep(11 * time.Second)
		for range 3 {
			w := get(r, "/")
			require.Equal(t, "1", w.Body.String())
			require.Contains(t, status(w), "fwd=stale; fwd-status=304")
		}
		require.EqualValues(t, 4, u.calls.Load())
	})
}

// A client that disconnects while its stale entry is revalidated gets nothing, and the
// entry is fresh for the others.
func TestDisconnectDuringARevalidation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		u := &upstream{}
		u.handle = func(c *gin.Context) {
			c.Header("Cache-Control", "max-age=10")
			c.Header("ETag", `"v1"`)
			if c.GetHeader("If-None-Match") != "" {
				time.Sleep(time.Second)
				c.Status(http.StatusNotModified)
				return
			}
			c.String(http.StatusOK, "x")
		}
		r := app(newCache(t, cache.Config{}), u.serve)
		get(r, "/")
		time.Sleep(11 * time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		var follower *httptest.ResponseRecorder
		var wg sync.WaitGroup
		var gone *httptest.ResponseRecorder
		req := request(http.MethodGet, "/", "").WithContext(ctx)
		wg.Go(func() { gone = do(r, req) })
		time.Sleep(100 * time.Millisecond)
		wg.Go(func() { follower = get(r, "/") })
		time.Sleep(100 * time.Millisecond)
		cancel()
		wg.Wait()
		require.Zero(t, gone.Body.Len())
		require.Equal(t, "x", follower.Body.String())
		require.EqualValues(t, 2, u.calls.Load())
		require.Contains(t, status(get(r, "/")), "; hit;")
	})
}
