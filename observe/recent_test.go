package observe_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/auth"
	"github.com/ginfer/ginfer/cache"
	"github.com/ginfer/ginfer/observe"
	"github.com/ginfer/ginfer/observe/events"
	"github.com/ginfer/ginfer/proxy"
	"github.com/ginfer/ginfer/routing"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func show(recent *observe.Recent, query string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	recent.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/debug/requests?"+query, http.NoBody))
	return w
}

// sections returns the sections of the page, as JSON.
func sections(t *testing.T, recent *observe.Recent) map[string][]map[string]any {
	t.Helper()
	w := show(recent, "format=json")
	require.Equal(t, "application/json", w.Header().Get("Content-Type"))
	var out map[string][]map[string]any
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &out))
	return out
}

func newRecent(t *testing.T, cfg observe.RecentConfig) *observe.Recent {
	t.Helper()
	recent, err := observe.NewRecent(cfg)
	require.NoError(t, err)
	return recent
}

// Of many requests the latest, the failed and the slowest are kept, within their bounds.
func TestRecentKeeps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		recent := newRecent(t, observe.RecentConfig{Size: 10, Slowest: 3, Window: time.Hour})
		do := func(n, code int, took time.Duration) {
			ask(post(), recent.Middleware(), observe.Route(strconv.Itoa(n)), func(c *gin.Context) {
				time.Sleep(took)
				c.Status(code)
			})
		}
		do(0, http.StatusBadGateway, 5*time.Second)
		do(1, http.StatusOK, 7*time.Second)
		do(2, http.StatusOK, 6*time.Second)
		for i := range 50 {
			do(100+i, http.StatusOK, time.Duration(i)*time.Millisecond)
		}
		routes := func(name string) (out []any) {
			for _, one := range sections(t, recent)[name] {
				out = append(out, one["http.route"])
			}
			return out
		}
		assert.Equal(t, []any{"149", "148", "147", "146", "145", "144", "143", "142", "141", "140"}, routes("latest"))
		assert.Equal(t, []any{"0"}, routes("failed"))
		assert.Equal(t, []any{"1", "2", "0"}, routes("slowest"))
		assert.Empty(t, routes("active"))
		time.Sleep(time.Hour)
		assert.Empty(t, routes("slowest"))
		do(7, http.StatusOK, time.Millisecond)
		assert.Equal(t, []any{"7"}, routes("slowest"))
	})
}

// Requests are active while they are under way.
func TestRecentActive(t *testing.T) {
	t.Parallel()
	recent := newRecent(t, observe.RecentConfig{})
	ask(post(), recent.Middleware(), func(c *gin.Context) {
		events.Hooks{}.Routing(c.Request.Context(), routing.Event{Kind: routing.Decided, Model: "m", Version: "v1"})
		active := sections(t, recent)["active"]
		if assert.Len(t, active, 1) {
			assert.Equal(t, "v1", active[0]["gateway.route.version"])
		}
		assert.Contains(t, show(recent, "").Body.String(), "active (1)")
	})
	assert.Empty(t, sections(t, recent)["active"])
}

func TestRecentPage(t *testing.T) {
	t.Parallel()
	recent := newRecent(t, observe.RecentConfig{Subject: func(id observe.Caller) string { return id.Subject }})
	ask(post(), recent.Middleware(), func(c *gin.Context) {
		events.Hooks{}.Auth(c.Request.Context(), auth.Event{Identity: &auth.Identity{Subject: "<i>alice"}})
		events.Hooks{}.Routing(c.Request.Context(), routing.Event{Kind: routing.Decided, Model: "<script>alert(1)</script>"})
	})
	w := show(recent, "")
	assert.Equal(t, "text/html; charset=utf-8", w.Header().Get("Content-Type"))
	assert.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	assert.Contains(t, w.Header().Get("Content-Security-Policy"), "default-src 'none'")
	assert.Contains(t, w.Body.String(), "&lt;script&gt;")
	assert.NotContains(t, w.Body.String(), "<script")
	assert.NotContains(t, w.Body.String(), "<i>")
	assert.Contains(t, w.Body.String(), "alice")

	refused := httptest.NewRecorder()
	recent.Handler().ServeHTTP(refused, httptest.NewRequest(http.MethodPost, "/", http.NoBody))
	assert.Equal(t, http.StatusMethodNotAllowed, refused.Code)
}

func TestRecentConfig(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]observe.RecentConfig{
		"size": {Size: -1}, "too large": {Size: 10_001}, "slowest": {Slowest: -1}, "window": {Window: -1},
	} {
		_, err := observe.NewRecent(cfg)
		require.Error(t, err, name)
	}
}

func TestRecentConcurrent(t *testing.T) {
	t.Parallel()
	recent := newRecent(t, observe.RecentConfig{Size: 5})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				ask(post(), recent.Middleware(), func(c *gin.Context) {
					events.Hooks{}.Routing(c.Request.Context(), routing.Event{Kind: routing.Decided, Version: "v"})
				})
				show(recent, "format=json")
			}
		})
	}
	wg.Wait()
	assert.Len(t, sections(t, recent)["latest"], 5)
}

// The summary of a request has its error, caller and trace, but no reason after a success.
func TestRecentSummary(t *testing.T) {
	t.Parallel()
	tracing, _ := newTracing(t, observe.TracingConfig{})
	access, _ := newAccessLog(t, observe.AccessLogConfig{})
	recent := newRecent(t, observe.RecentConfig{Subject: func(id observe.Caller) string { return "caller-" + id.Subject }})
	anonymous := newRecent(t, observe.RecentConfig{})
	chain := gin.HandlersChain{access.Middleware(), tracing.Middleware(), recent.Middleware(), anonymous.Middleware(), func(c *gin.Context) {
		events.Hooks{}.Auth(c.Request.Context(), auth.Event{Identity: &auth.Identity{Subject: "alice"}})
	}}
	ask(post("X-Request-Id", "one", "Traceparent", parent), append(chain, func(c *gin.Context) {
		_ = c.Error(errors.New("late"))
		c.Status(http.StatusOK)
	})...)
	ask(post("X-Request-Id", "two"), append(chain, func(c *gin.Context) {
		events.Hooks{}.Cache("c")(c.Request.Context(), cache.Event{Kind: cache.Missed})
		events.Hooks{}.Proxy(c.Request.Context(), proxy.Event{Kind: proxy.AttemptEnded, Attempt: 1, Endpoint: "a:1"})
		events.Hooks{}.Proxy(c.Request.Context(), proxy.Event{Kind: proxy.Finished, Attempt: 2, Outcome: proxy.Failure})
		apierror.Abort(c, &apierror.Error{Status: http.StatusBadGateway, Code: "upstream_error", Err: errors.New("sk-verysecretkey")})
	})...)
	got := recent.Newest(2)
	require.Len(t, got, 2)
	failed, success := got[0], got[1]
	assert.Equal(t, []string{"two", "failure", "upstream_error", "bad gateway: sk_…", "caller-alice", "a:1", "miss"},
		[]string{failed.ID, failed.Outcome, failed.Error, failed.Reason, failed.Caller, failed.Endpoint, failed.Cache})
	assert.Equal(t, 2, failed.Attempts)
	assert.NotEmpty(t, failed.Trace)
	assert.Equal(t, []string{"one", "success", "", ""}, []string{success.ID, success.Outcome, success.Error, success.Reason})
	assert.Equal(t, traceID, success.Trace)
	assert.Empty(t, anonymous.Newest(1)[0].Caller, "callers are omitted by default")
}

// The page is HTML unless JSON is requested.
func TestRecentFormats(t *testing.T) {
	t.Parallel()
	recent := newRecent(t, observe.RecentConfig{})
	ask(post(), recent.Middleware(), respondWith(http.StatusOK))
	for name, tt := range map[string]struct {
		method, target, accept, want string
	}{
		"default":       {http.MethodGet, "/", "", "text/html; charset=utf-8"},
		"browser":       {http.MethodGet, "/", "text/html,application/xhtml+xml,*/*;q=0.8", "text/html; charset=utf-8"},
		"query":         {http.MethodGet, "/?format=json", "", "application/json"},
		"accept":        {http.MethodGet, "/", "application/json", "application/json"},
		"accept, first": {http.MethodGet, "/", "application/json, text/html;q=0.1", "application/json"},
		"other format":  {http.MethodGet, "/?format=xml", "", "text/html; charset=utf-8"},
		"HEAD":          {http.MethodHead, "/", "application/json", "application/json"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req := httptest.NewRequest(tt.method, tt.target, http.NoBody)
			req.Header.Set("Accept", tt.accept)
			w := httptest.NewRecorder()
			recent.Handler().ServeHTTP(w, req)
			assert.Equal(t, http.StatusOK, w.Code)
			assert.Equal(t, tt.want, w.Header().Get("Content-Type"))
			assert.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
		})
	}
}
