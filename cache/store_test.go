package cache_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/cache"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// remote is a store that is no Memory: every lookup goes to it. It can fail to delete.
type remote struct {
	memory    *cache.Memory
	mu        sync.Mutex
	gets      int
	failing   error // of Get
	deleteErr error
}

func newRemote(t *testing.T) *remote {
	t.Helper()
	return &remote{memory: memory(t, cache.MemoryConfig{})}
}

func (s *remote) Get(ctx context.Context, key string) (*cache.Entry, error) {
	s.mu.Lock()
	s.gets++
	err := s.failing
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return s.memory.Get(ctx, key)
}

func (s *remote) Set(ctx context.Context, key string, e *cache.Entry) error {
	return s.memory.Set(ctx, key, e)
}

func (s *remote) Delete(ctx context.Context, key string) error {
	if s.deleteErr != nil {
		return s.deleteErr
	}
	return s.memory.Delete(ctx, key)
}

// A remote store serves all policies, variants too: the leader follows the note.
func TestRemoteStore(t *testing.T) {
	t.Parallel()
	s := newRemote(t)
	u := &upstream{}
	u.handle = func(c *gin.Context) {
		c.Header("Cache-Control", "max-age=60")
		c.Header("Vary", "Accept")
		c.String(http.StatusOK, "%s %d", c.GetHeader("Accept"), u.calls.Load())
	}
	r := app(newCache(t, cache.Config{Store: s}), u.serve)
	for _, step := range []struct{ accept, body, mark string }{
		{"a", "a 1", "fwd=uri-miss"},
		{"a", "a 1", "; hit;"},
		{"b", "b 2", "fwd=vary-miss"},
		{"a", "a 1", "; hit;"},
		{"b", "b 2", "; hit;"},
	} {
		w := get(r, "/", "Accept", step.accept)
		require.Equal(t, step.body, w.Body.String())
		require.Contains(t, status(w), step.mark)
	}
	w := do(r, request(http.MethodHead, "/", "", "Accept", "a"))
	require.Contains(t, status(w), "; hit;", "HEAD from the variant")
	require.Empty(t, w.Body.String())
	require.Equal(t, "3", w.Header().Get("Content-Length"))
	w = get(r, "/", "Accept", "b", "Cache-Control", "only-if-cached")
	require.Equal(t, "b 2", w.Body.String())
	require.Equal(t, http.StatusGatewayTimeout, get(r, "/", "Accept", "c", "Cache-Control", "only-if-cached").Code)
}

// Concurrent misses of a variant that the store knows are one call.
func TestRemoteVariantsAreCoalesced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		u := &upstream{handle: func(c *gin.Context) {
			time.Sleep(time.Second)
			c.Header("Cache-Control", "max-age=60")
			c.Header("Vary", "Accept")
			c.String(http.StatusOK, c.GetHeader("Accept"))
		}}
		r := app(newCache(t, cache.Config{Store: newRemote(t)}), u.serve)
		get(r, "/", "Accept", "first")
		var wg sync.WaitGroup
		for i := range 20 {
			accept := []string{"a", "b"}[i%2]
			wg.Go(func() { assert.Equal(t, accept, get(r, "/", "Accept", accept).Body.String()) })
		}
		wg.Wait()
		require.EqualValues(t, 3, u.calls.Load())
	})
}

// While purges cannot be queried, a remote store must not be used at all.
func TestRemoteStoreWithUnknownPurges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, b := newRemote(t), &bus{err: errDown}
		u := responds(200, chatJSON, "Content-Type", jsonType)
		r := app(newCache(t, cache.Config{Store: s, Purges: b}), u.serve)
		for range 3 {
			require.False(t, isHit(r, chatPlain))
		}
		require.Zero(t, s.gets)
		b.cut(nil)
		time.Sleep(2 * time.Second)
		require.True(t, isHit(r, chatPlain), "an entry of ours, which is valid")
		require.Positive(t, s.gets)
	})
}

func TestStoreErrorsAreEvents(t *testing.T) {
	t.Parallel()
	errDelete := errors.Join(cache.ErrUnavailable, errors.New("no delete"))
	s, l := newRemote(t), &log{}
	s.deleteErr, s.failing = errDelete, errDown
	r := app(newCache(t, cache.Config{Store: s, OnEvent: l.On}), responds(200, "%d", "Cache-Control", "max-age=60").serve)
	require.Equal(t, "1", get(r, "/").Body.String())
	failed := l.of(cache.Failed)
	require.Len(t, failed, 1)
	require.ErrorIs(t, failed[0].Err, errDown)
	require.Equal(t, http.StatusOK, do(r, request(http.MethodPut, "/", "x")).Code)
	failed = l.of(cache.Failed)
	require.Len(t, failed, 2)
	require.ErrorIs(t, failed[1].Err, errDelete)
	s.failing = nil
	require.Equal(t, "3", get(r, "/").Body.String(), "the change is known to this process")
}

// An unsafe request invalidates the entries of its own scope.
func TestInvalidationByScope(t *testing.T) {
	t.Parallel()
	scope := func(c *gin.Context) (string, error) {
		if tenant := c.GetHeader("X-Tenant"); tenant != "" {
			return tenant, nil
		}
		return "", errors.New("no tenant")
	}
	u := responds(200, "%d", "Cache-Control", "public, max-age=60")
	r := app(newCache(t, cache.Config{Scope: scope}), u.serve)
	require.Equal(t, "1", get(r, "/", "X-Tenant", "a").Body.String())
	require.Equal(t, "1", get(r, "/", "X-Tenant", "a").Body.String())
	require.Equal(t, "2", get(r, "/", "X-Tenant", "b").Body.String())
	w := get(r, "/")
	require.Equal(t, "3", w.Body.String())
	require.Contains(t, status(w), "detail=no-scope")
	do(r, request(http.MethodDelete, "/", "")) // without a scope: the address changed anyway
	require.Equal(t, "5", get(r, "/", "X-Tenant", "a").Body.String())
}

// Location and Content-Location of an unsafe request name changed addresses too, but not
// on another host.
func TestInvalidationOfNamedAddresses(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		method  string
		code    int
		header  []string
		path    string
		changed bool
	}{
		"Location":                {http.MethodPut, 201, []string{"Location", "/a"}, "/a", true},
		"Content-Location":        {http.MethodPut, 200, []string{"Content-Location", "/a?x=y"}, "/a?x=y", true},
		"relative":                {http.MethodPut, 200, []string{"Location", "a"}, "/a", true},
		"same host":               {http.MethodPut, 200, []string{"Location", "http://example.com/a"}, "/a", true},
		"another host":            {http.MethodPut, 200, []string{"Location", "http://example.org/a"}, "/a", false},
		"invalid":                 {http.MethodPut, 200, []string{"Location", "http://%zz"}, "/a", false},
		"none":                    {http.MethodPut, 200, nil, "/a", false},
		"its own":                 {http.MethodPatch, 200, nil, "/", true},
		"its own, but it failed":  {http.MethodPut, 400, nil, "/", false},
		"its own, but it is safe": {http.MethodOptions, 200, nil, "/", false},
		"by POST":                 {http.MethodPost, 201, []string{"Location", "/a"}, "/a", true},
	} {
		u := &upstream{}
		u.handle = func(c *gin.Context) {
			if c.Request.Method == http.MethodGet {
				c.Header("Cache-Control", "max-age=60")
				c.String(http.StatusOK, "%d", u.calls.Load())
				return
			}
			for i := 0; i+1 < len(tt.header); i += 2 {
				c.Header(tt.header[i], tt.header[i+1])
			}
			c.Status(tt.code)
		}
		r := app(newCache(t, cache.Config{}), u.serve)
		get(r, tt.path)
		do(r, request(tt.method, "/", ""))
		assert.Equal(t, tt.changed, get(r, tt.path).Body.String() != "1", name)
	}
}
