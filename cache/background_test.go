package cache_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/cache"
	"github.com/stretchr/testify/require"
)

// fetched is an upstream with responses fresh for 10 s and stale for a minute more.
// It takes a second.
func fetched() *upstream {
	u := &upstream{}
	u.handle = func(c *gin.Context) {
		time.Sleep(time.Second)
		c.Header("Cache-Control", "max-age=10, stale-while-revalidate=60")
		c.String(http.StatusOK, "%d", u.calls.Load())
	}
	return u
}

// Refreshes bounds the refreshes; the stale entry is used without one.
func TestRefreshesAreBounded(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		refreshes int
		calls     int64
	}{"one": {1, 4}, "two": {2, 5}, "none": {-1, 3}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				u := fetched()
				c := newCache(t, cache.Config{Refreshes: tt.refreshes})
				r := app(c, u.serve)
				for _, path := range []string{"/a", "/b", "/c"} {
					get(r, path)
				}
				time.Sleep(15 * time.Second)
				for _, path := range []string{"/a", "/b", "/c"} {
					require.Contains(t, status(get(r, path)), "; hit;")
				}
				require.NoError(t, c.Drain(t.Context()))
				require.Equal(t, tt.calls, u.calls.Load())
			})
		})
	}
}

// Drain waits for refreshes, but not longer than its context.
func TestDrainWaitsForRefreshes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		u := fetched()
		c := newCache(t, cache.Config{})
		r := app(c, u.serve)
		require.NoError(t, c.Drain(t.Context()), "nothing is under way")
		get(r, "/")
		time.Sleep(15 * time.Second)
		get(r, "/")
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		err := c.Drain(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.EqualError(t, err, "cache: refreshes are under way: context deadline exceeded")
		require.NoError(t, c.Drain(t.Context()))
		require.Equal(t, "2", get(r, "/").Body.String())
	})
}

// A refresh that exceeds its timeout is canceled, and the entry stays.
func TestRefreshTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, u := &log{}, &upstream{}
		u.handle = func(c *gin.Context) {
			if u.calls.Load() > 1 {
				<-c.Request.Context().Done()
				return
			}
			c.Header("Cache-Control", "max-age=10, stale-while-revalidate=60")
			c.String(http.StatusOK, "%d", u.calls.Load())
		}
		c := newCache(t, cache.Config{RefreshTimeout: 5 * time.Second, OnEvent: l.On})
		r := app(c, u.serve)
		get(r, "/")
		time.Sleep(15 * time.Second)
		require.Equal(t, "1", get(r, "/").Body.String())
		begin := time.Now()
		require.NoError(t, c.Drain(t.Context()))
		require.Equal(t, 5*time.Second, time.Since(begin))
		refreshed := l.of(cache.Refreshed)
		require.Len(t, refreshed, 1)
		require.ErrorIs(t, refreshed[0].Err, context.DeadlineExceeded)
		require.Equal(t, "1", get(r, "/").Body.String())
		require.NoError(t, c.Drain(t.Context()))
	})
}

// Background produces the response of a refresh. It sees the status of the request, and
// the body again.
func TestBackgroundHandler(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		u, l := responds(200, chatJSON, "Content-Type", jsonType), &log{}
		c := newCache(t, cache.Config{
			OnEvent: l.On, Beta: -1, LLM: cache.LLM{TTL: 10 * time.Second, StaleWhileRevalidate: time.Minute},
			Background: func(c *gin.Context) {
				s, ok := cache.FromContext(c.Request.Context())
				require.True(t, ok)
				require.Equal(t, "stale", s.Forward)
				require.Equal(t, "llm", s.Policy)
				b, err := c.GetRawData()
				require.NoError(t, err)
				require.JSONEq(t, chatPlain, string(b))
				c.Data(http.StatusOK, jsonType, []byte(chatJSON))
			},
		})
		r := app(c, u.serve)
		post(r, chatPlain)
		time.Sleep(15 * time.Second)
		w := post(r, chatPlain)
		require.Contains(t, status(w), "detail=stale")
		require.NoError(t, c.Drain(t.Context()))
		require.EqualValues(t, 1, u.calls.Load())
		require.Equal(t, l.of(cache.Stored)[0].Key, l.of(cache.Refreshed)[0].Key)
		require.Contains(t, status(post(r, chatPlain)), "; hit; ttl=1", "it is fresh again")
	})
}

// The events of a refresh have the same key as those of requests, also after a purge.
func TestKeyOfARefreshAfterAPurge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		u, l := fetched(), &log{}
		c := newCache(t, cache.Config{OnEvent: l.On})
		r := app(c, u.serve)
		require.NoError(t, c.Purge(t.Context(), cache.Everything))
		get(r, "/")
		time.Sleep(15 * time.Second)
		get(r, "/")
		require.NoError(t, c.Drain(t.Context()))
		require.Equal(t, l.of(cache.Hit)[0].Key, l.of(cache.Refreshed)[0].Key)
	})
}
