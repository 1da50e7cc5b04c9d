package e2e_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// failingOnDemand is an upstream that fails while fails is set. It counts its calls.
func failingOnDemand(t *testing.T) (url string, fails *atomic.Bool, calls *atomic.Int64) {
	t.Helper()
	fails, calls = new(atomic.Bool), new(atomic.Int64)
	good := echoUpstream(t)
	s := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		if fails.Load() {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		good.Config.Handler.ServeHTTP(w, r)
	}))
	return s.URL, fails, calls
}

// A failing endpoint soon receives no more requests; they go to the other one. After its
// recovery it receives its share again. No request is refused meanwhile, not even one that
// must not be retried.
func TestBreaker(t *testing.T) {
	one, fails, calls := failingOnDemand(t)
	two, _, _ := failingOnDemand(t)
	p := start(t, fmt.Sprintf(`{%s, "upstreams": {"a": {"endpoints": [{"url": %q}, {"url": %q}], "policy": "round_robin", "breaker": {"consecutive": 5, "sleep": "200ms"}}},
		"groups": [{"path": "/v1", "upstream": "a", "stages": []}]}`, ports, one, two))
	client := newClient(t, 1)
	status := func() int { return p.sendChat(client, smallChat).StatusCode }
	state := func() string { _, text := p.admin(http.MethodGet, "/admin/breakers", ""); return text }
	fails.Store(true)
	failed, begin := 0, time.Now()
	for range 60 {
		if status() != http.StatusOK {
			failed++
		}
	}
	probes := int(time.Since(begin) / (200 * time.Millisecond))
	assert.LessOrEqual(t, failed, 5+probes, "the failures before it opened, and one for each probe")
	assert.Contains(t, state(), `"state":"open"`)
	before := calls.Load()
	fails.Store(false)
	require.Eventually(t, func() bool { require.Equal(t, http.StatusOK, status()); return !strings.Contains(state(), "open") }, 30*time.Second, 5*time.Millisecond)
	assert.Greater(t, calls.Load(), before)

	host := strings.TrimPrefix(one, "http://")
	code, _ := p.admin(http.MethodPost, "/admin/breakers/a/open?endpoint="+host, "")
	require.Equal(t, http.StatusOK, code)
	before = calls.Load()
	for range 20 {
		require.Equal(t, http.StatusOK, status())
	}
	assert.Equal(t, before, calls.Load(), "forced open")
	for _, path := range []string{"/admin/breakers/a/half?endpoint=" + host, "/admin/breakers/b/open?endpoint=" + host, "/admin/breakers/a/open?endpoint=x"} {
		code, _ = p.admin(http.MethodPost, path, "")
		assert.Equal(t, http.StatusNotFound, code, path)
	}
	code, _ = p.admin(http.MethodPost, "/admin/breakers/a/auto?endpoint="+host, "")
	require.Equal(t, http.StatusOK, code)
}

// When every endpoint is down the response is 503 with Retry-After, at once.
func TestBreakerTotalOutage(t *testing.T) {
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	p := start(t, fmt.Sprintf(`{%s, "upstreams": {"a": {"endpoints": [{"url": %q}]}}, "groups": [{"path": "/v1", "upstream": "a", "stages": []}]}`, ports, dead.URL))
	client := newClient(t, 1)
	var last response
	for range 12 {
		last = p.sendChat(client, smallChat)
	}
	assert.Equal(t, http.StatusServiceUnavailable, last.StatusCode)
	assert.NotEmpty(t, last.Header.Get("Retry-After"))
	begin := time.Now()
	for range 100 {
		p.sendChat(client, smallChat)
	}
	assert.Less(t, time.Since(begin), 5*time.Second)
}
