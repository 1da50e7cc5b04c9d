package cache_test

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/cache"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// delayed returns an upstream that takes a second.
func delayed(u *upstream) *upstream {
	handle := u.handle
	u.handle = func(c *gin.Context) {
		time.Sleep(time.Second)
		handle(c)
	}
	return u
}

// concurrently sends requests, 100 ms apart, and returns their responses.
func concurrently(h http.Handler, requests ...*http.Request) []*httptest.ResponseRecorder {
	all := make([]*httptest.ResponseRecorder, len(requests))
	var wg sync.WaitGroup
	for i, req := range requests {
		wg.Go(func() { all[i] = do(h, req) })
		time.Sleep(100 * time.Millisecond)
	}
	wg.Wait()
	return all
}

// What concurrent requests share depends on what the first one gets.
func TestWhatConcurrentRequestsShare(t *testing.T) {
	t.Parallel()
	other := func(body string) *http.Request { return request(http.MethodPost, "/v1/rerank", body) }
	one, another := chatPlain, chatStream
	generic := `{"model":"m","temperature":0,"query":"q"}`
	genericStream := `{"model":"m","temperature":0,"query":"q","stream":true}`
	fields := cache.LLM{Fields: []string{"query"}}
	for name, tt := range map[string]struct {
		cfg      cache.Config
		u        *upstream
		requests []*http.Request
		codes    []int
		calls    int64
	}{
		"the same form": {
			u:        responds(200, chatJSON, "Content-Type", jsonType),
			requests: []*http.Request{request("POST", chatPath, one), request("POST", chatPath, one)}, codes: []int{200, 200}, calls: 1,
		},
		"another form": {
			u:        responds(200, chatJSON, "Content-Type", jsonType),
			requests: []*http.Request{request("POST", chatPath, one), request("POST", chatPath, another)}, codes: []int{200, 200}, calls: 1,
		},
		"another form that cannot be made": {
			cfg: cache.Config{LLM: fields}, u: responds(200, `{"results":[]}`, "Content-Type", jsonType),
			requests: []*http.Request{other(generic), other(genericStream)}, codes: []int{200, 200}, calls: 2,
		},
		"an error in another form": {
			cfg: cache.Config{LLM: fields}, u: responds(400, `{"error":{}}`, "Content-Type", jsonType),
			requests: []*http.Request{other(generic), other(genericStream)}, codes: []int{400, 400}, calls: 1,
		},
		"an encoded response": {
			u:        responds(200, "packed", "Content-Type", jsonType, "Content-Encoding", "gzip"),
			requests: []*http.Request{request("POST", chatPath, one), request("POST", chatPath, one)}, codes: []int{200, 200}, calls: 2,
		},
		"a refused caller, then its followers": {
			cfg: cache.Config{Shared: true}, u: responds(403, "{}", "Content-Type", jsonType),
			requests: []*http.Request{request("POST", chatPath, one), request("POST", chatPath, one), request("POST", chatPath, one)}, codes: []int{403, 403, 403}, calls: 3,
		},
		"a refused caller of one scope": {
			u:        responds(403, "{}", "Content-Type", jsonType),
			requests: []*http.Request{request("POST", chatPath, one), request("POST", chatPath, one), request("POST", chatPath, one)}, codes: []int{403, 403, 403}, calls: 2,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l, u := &log{}, delayed(tt.u)
				tt.cfg.OnEvent = l.On
				r := app(newCache(t, tt.cfg), u.serve)
				for i, w := range concurrently(r, tt.requests...) {
					assert.Equal(t, tt.codes[i], w.Code, i)
				}
				assert.Equal(t, tt.calls, u.calls.Load())
			})
		})
	}
}

// no-cache in a request for a model fetches a response that others may use.
func TestRefetch(t *testing.T) {
	t.Parallel()
	u := responds(200, chatJSON, "Content-Type", jsonType)
	r := app(newCache(t, cache.Config{}), u.serve)
	post(r, chatPlain)
	for _, control := range []string{"no-cache", "max-age=0"} {
		w := post(r, chatPlain, "Cache-Control", control)
		require.Equal(t, "ginfer; fwd=request; ttl=59; stored", status(w), control)
	}
	w := post(r, chatPlain)
	require.Contains(t, w.Body.String(), `"c3"`)
	require.Contains(t, status(w), "; hit;")
	w = post(r, chatPlain, "Cache-Control", "no-store")
	require.Equal(t, "ginfer; fwd=request; detail=no-store", status(w))
	require.EqualValues(t, 4, u.calls.Load())
}

// A stale response of a model replaces an error, for as long as StaleIfError allows.
func TestStaleModelResponseReplacesAnError(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		after   time.Duration
		failure func(*gin.Context)
		header  []string
		code    int
	}{
		"an error status": {after: time.Minute, failure: func(c *gin.Context) { c.Status(502) }, code: 200},
		"a rate limit":    {after: time.Minute, failure: func(c *gin.Context) { c.Status(429) }, code: 200},
		"too stale":       {after: time.Hour, failure: func(c *gin.Context) { c.Status(502) }, code: 502},
		"a bad request":   {after: time.Minute, failure: func(c *gin.Context) { c.Status(400) }, code: 400},
		"no-cache":        {after: time.Minute, failure: func(c *gin.Context) { c.Status(502) }, header: []string{"Cache-Control", "no-cache"}, code: 502},
	} {
		synctest.Test(t, func(t *testing.T) {
			u := responds(200, chatJSON, "Content-Type", jsonType)
			c := newCache(t, cache.Config{Beta: -1, LLM: cache.LLM{TTL: 10 * time.Second, StaleIfError: 10 * time.Minute}})
			r := app(c, u.serve)
			post(r, chatPlain)
			u.handle = tt.failure
			time.Sleep(tt.after)
			w := post(r, chatPlain, tt.header...)
			assert.Equal(t, tt.code, w.Code, name)
			if tt.code == 200 {
				assert.Contains(t, w.Body.String(), `"c1"`, name)
				assert.Contains(t, status(w), "detail=stale-if-error", name)
			}
			stream := post(r, chatStream, tt.header...)
			assert.Equal(t, tt.code, stream.Code, "%s: as a stream", name)
		})
	}
}

// A hit keeps the Cache-Status that earlier handlers have set, before its own.
func TestCacheStatusOfTwoCaches(t *testing.T) {
	t.Parallel()
	u := responds(200, chatJSON, "Content-Type", jsonType)
	outer, inner := newCache(t, cache.Config{Name: "outer", LLM: cache.LLM{Off: true}}), newCache(t, cache.Config{Name: "inner"})
	r := app(outer, func(c *gin.Context) { c.Header("X-Between", "1") }, inner.Middleware(), u.serve)
	post(r, chatPlain)
	w := post(r, chatPlain)
	require.Equal(t, "1", w.Header().Get("X-Between"))
	require.Len(t, w.Header()["Cache-Status"], 2)
	require.Contains(t, w.Header()["Cache-Status"][0], "inner; hit")
	require.Equal(t, "outer; fwd=bypass; detail=off", w.Header()["Cache-Status"][1])
	front := gin.New()
	front.Any("/*path", func(c *gin.Context) { c.Header("Cache-Status", "front; fwd=miss") }, inner.Middleware(), u.serve)
	w = post(front, chatPlain)
	require.Equal(t, "front; fwd=miss", w.Header()["Cache-Status"][0])
	require.Contains(t, w.Header()["Cache-Status"][1], "inner; hit")
}

// An upgrade bypasses each policy.
func TestUpgrades(t *testing.T) {
	t.Parallel()
	r := app(newCache(t, cache.Config{Idempotency: cache.Idempotency{On: true}}), responds(200, "{}").serve)
	for name, req := range map[string]*http.Request{
		"http":        request(http.MethodGet, "/", "", "Connection", "Upgrade", "Upgrade", "websocket"),
		"llm":         request(http.MethodPost, chatPath, chatPlain, "Connection", "keep-alive, Upgrade", "Upgrade", "WebSocket"),
		"idempotency": request(http.MethodPost, chatPath, chatPlain, "Connection", "upgrade", "Upgrade", "websocket", "Idempotency-Key", "k"),
	} {
		assert.Equal(t, "ginfer; fwd=bypass; detail=upgrade", status(do(r, req)), name)
	}
}

// An offer of another protocol, as Java's HttpClient makes with every request, changes nothing.
func TestOffersAreIgnored(t *testing.T) {
	t.Parallel()
	for name, header := range map[string][]string{
		"h2c":              {"Connection", "Upgrade, HTTP2-Settings", "Upgrade", "h2c", "HTTP2-Settings", "AAEAAEAAAAIAAAAB"},
		"TLS":              {"Connection", "Upgrade", "Upgrade", "TLS/1.2"},
		"Connection alone": {"Connection", "upgrade"},
		"Upgrade alone":    {"Upgrade", "websocket"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := app(newCache(t, cache.Config{Idempotency: cache.Idempotency{On: true}}), responds(200, chatJSON, "Content-Type", jsonType, "Cache-Control", "max-age=60").serve)
			for kind, ask := range map[string]func() *http.Request{
				"http": func() *http.Request { return request(http.MethodGet, "/", "", header...) },
				"llm":  func() *http.Request { return request(http.MethodPost, chatPath, chatPlain, header...) },
				"idempotency": func() *http.Request {
					return request(http.MethodPost, "/orders", "{}", append(header, "Idempotency-Key", "k")...)
				},
			} {
				assert.Contains(t, status(do(r, ask())), "miss", kind)
				assert.Contains(t, status(do(r, ask())), "ginfer; hit", kind)
			}
		})
	}
}
