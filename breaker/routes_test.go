package breaker_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/breaker"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// byPath fails below /bad.
func byPath(req *http.Request) (*http.Response, error) {
	if strings.HasPrefix(req.URL.Path, "/bad") {
		return bad(req)
	}
	return good(req)
}

// on sends n requests to a path and counts those that were admitted.
func on(rt http.RoundTripper, path string, n int) int { return many(onPath{rt, path}, n) }

// settled waits for hystrix.
func settled(t *testing.T, g *breaker.Group) breaker.Status {
	t.Helper()
	opens(t, g)
	return state(t, g)
}

// A path that always fails opens alone, while others are served; and it recovers.
func TestOnePathIsOpenAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, seen := group(t, breaker.Settings{})
		u := &upstream{respond: byPath}
		rt := g.Transport(u)
		require.Equal(t, 1, on(rt, "/good", 1))
		assert.Equal(t, 10, on(rt, "/bad/17", 40), "ids are no other paths")
		s := settled(t, g)
		assert.Equal(t, breaker.Closed, s.State)
		assert.Equal(t, []string{"/bad/*"}, s.Routes)
		for range 60 {
			assert.Equal(t, 1, on(rt, "/good", 1))
			on(rt, "/bad/18", 10)
			time.Sleep(100 * time.Millisecond)
		}
		u.set(good)
		time.Sleep(10 * time.Second)
		assert.Equal(t, 20, on(rt, "/bad/19", 20))
		assert.Empty(t, settled(t, g).Routes)
		assert.Equal(t, []string{"failures", "slept", "recovered"}, seen.reasons())
	})
}

// Two paths that fail are the endpoint's failure, and so is a single one without requests for
// others.
func TestTwoPathsOpenAll(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		paths []string
		off   bool
		opens bool
	}{
		"one alone":             {[]string{"/bad"}, false, true},
		"one beside another":    {[]string{"/good", "/bad"}, false, false},
		"two":                   {[]string{"/bad/a", "/bad/b"}, false, true},
		"two beside a third":    {[]string{"/bad/a", "/bad/b", "/bad/c", "/good"}, false, true},
		"not distinguished":     {[]string{"/good", "/bad", "/bad"}, true, true},
		"two that are the same": {[]string{"/good", "/bad/1", "/bad/2"}, false, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			g, _ := group(t, breaker.Settings{RoutesOff: tt.off})
			rt := g.Transport(&upstream{respond: byPath})
			for range 9 {
				for _, path := range tt.paths {
					on(rt, path, 1)
				}
			}
			if len(tt.paths) == 1 {
				on(rt, tt.paths[0], 1)
			}
			assert.Equal(t, tt.opens, settled(t, g).State == breaker.Open, name)
		})
	}
}

// If an endpoint's only known path fails, another one passes: if it succeeds, only the first
// path stays open.
func TestUnknownPathPassesAnOpenCircuit(t *testing.T) {
	t.Parallel()
	for _, isWell := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			g, seen := group(t, breaker.Settings{})
			u := &upstream{respond: bad}
			rt := g.Transport(u)
			on(rt, "/bad", 10)
			require.Equal(t, breaker.Open, settled(t, g).State)
			assert.Zero(t, on(rt, "/bad", 10))
			if !isWell {
				assert.Equal(t, 1, on(rt, "/good", 10), "it fails, so that all is open")
				assert.Zero(t, on(rt, "/other", 10))
				return
			}
			u.set(byPath)
			assert.Equal(t, 10, on(rt, "/good", 10))
			assert.Zero(t, on(rt, "/bad", 10))
			s := state(t, g)
			assert.Equal(t, breaker.Closed, s.State)
			assert.Equal(t, []string{"/bad"}, s.Routes)
			assert.Equal(t, []string{"failures", "another route serves", "failures"}, seen.reasons())
		})
	}
}

// Versions of a model are routes of their own, whatever their path.
func TestVersionsAreRoutes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, _ := group(t, breaker.Settings{})
		u := new(upstream)
		rt := onPath{g.Transport(u), "/v1/chat/completions"}
		ask := func(version string, f func(*http.Request) (*http.Response, error)) error {
			u.set(f)
			_, err := send(t.Context(), toVersion{rt, version})
			return err
		}
		require.NoError(t, ask("v1", good))
		for range 10 {
			require.NoError(t, ask("v2", bad))
		}
		settled(t, g)
		require.ErrorIs(t, ask("v2", good), breaker.ErrOpen)
		require.NoError(t, ask("v1", good))
	})
}

// One caller does not open a route for the others that are served there.
func TestOneCallerDoesNotOpenARoute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, _ := group(t, breaker.Settings{})
		u := new(upstream)
		rt := g.Transport(u)
		require.NoError(t, call{caller: 1, path: "/other"}.do(rt, u, good))
		for range 5 {
			require.NoError(t, call{caller: 1, path: "/x"}.do(rt, u, good))
			for range 5 {
				require.NoError(t, call{caller: 2, path: "/x"}.do(rt, u, bad))
			}
		}
		assert.Empty(t, settled(t, g).Routes)
	})
}

// The number of paths is bounded.
func TestRoutesAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, _ := group(t, breaker.Settings{})
		u := &upstream{respond: byPath}
		rt := g.Transport(u)
		on(rt, "/good", 1)
		for i := range 40 {
			on(rt, "/bad/"+strings.Repeat("x", i+1), 9)
			on(rt, "/good", 30)
		}
		assert.Equal(t, breaker.Closed, settled(t, g).State)
		for range 10 {
			on(rt, "/bad/"+strings.Repeat("x", 100), 1)
		}
		assert.Len(t, settled(t, g).Routes, 1)
		assert.LessOrEqual(t, len(settled(t, g).Routes[0]), 64)
		for i := range 40 {
			on(rt, fmt.Sprintf("/g%c", 'g'+i), 1)
		}
		assert.Empty(t, settled(t, g).Routes, "it was the least recently used")
	})
}

// An id in a path does not make another path.
func TestIDsInPaths(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/v1/chat/completions":                              "/v1/chat/completions",
		"/v1/files/17":                                      "/v1/files/*",
		"/v1/files/file-abc123def456ghi7":                   "/v1/files/*",
		"/v1/batches/batch_6a1f0c9e8d7b4a5f/cancel":         "/v1/batches/*/cancel",
		"/jobs/0b7c9f4e-2d4f-4a7d-9a63-1f2f3a4b5c6d/events": "/jobs/*/events",
		"/v1beta/models/gemini-2.5-flash:generateContent":   "/v1beta/models/gemini-2.5-flash:generateContent",
		"/v2/models/llama3/infer":                           "/v2/models/llama3/infer",
		"/feedback":                                         "/feedback",
	} {
		assert.Equal(t, want, breaker.RouteName(path))
	}
}

// toVersion sends attempts to a version, as routing does.
type toVersion struct {
	next    http.RoundTripper
	version string
}

// RoundTrip implements http.RoundTripper.
func (v toVersion) RoundTrip(req *http.Request) (*http.Response, error) {
	a, req := exchange.Start(req)
	a.SetVersion(v.version)
	return a.Do(req, v.next)
}
