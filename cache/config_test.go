package cache_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/cache"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestConfigFaults(t *testing.T) {
	t.Parallel()
	scope := func(*gin.Context) (string, error) { return "", nil }
	for want, cfg := range map[string]cache.Config{
		`Config.Name "a b" is no token`:          {Name: "a b"},
		`"x y" is no name of a header`:           {KeyHeaders: []string{"x y"}},
		`"a:" is no name of a header`:            {LLM: cache.LLM{OptIn: "a:"}},
		"Scope and Config.Shared exclude":        {Scope: scope, Shared: true},
		"MaxEntry is negative":                   {MaxEntry: -1},
		"MaxRequest is negative":                 {MaxRequest: -1},
		"MaxLag is negative":                     {MaxLag: -1},
		"RefreshTimeout is negative":             {RefreshTimeout: -1},
		"LLM.TTL -1ns is not between":            {LLM: cache.LLM{TTL: -1}},
		"LLM.TTL 48h0m0s is not between":         {LLM: cache.LLM{TTL: 48 * time.Hour}},
		"LLM.StaleIfError -1ns":                  {LLM: cache.LLM{StaleIfError: -1}},
		"LLM.StaleWhileRevalidate 24h0m0s":       {LLM: cache.LLM{StaleWhileRevalidate: cache.MaxKeep}},
		"HTTP.Heuristic 2 is not":                {HTTP: cache.HTTP{Heuristic: 2}},
		"HTTP.MaxTTL -1ns":                       {HTTP: cache.HTTP{MaxTTL: -1}},
		"HTTP.NegativeTTL 11s":                   {HTTP: cache.HTTP{NegativeTTL: 11 * time.Second}},
		"HTTP.KeepStale 25h0m0s":                 {HTTP: cache.HTTP{KeepStale: 25 * time.Hour}},
		"HTTP.StaleIfError -1ns":                 {HTTP: cache.HTTP{StaleIfError: -1}},
		"HTTP.StaleWhileRevalidate -1ns":         {HTTP: cache.HTTP{StaleWhileRevalidate: -1}},
		"Idempotency.TTL 25h0m0s is not between": {Idempotency: cache.Idempotency{TTL: 25 * time.Hour}},
	} {
		_, err := cache.New(cfg)
		require.ErrorContains(t, err, want)
		require.Panics(t, func() { cache.Middleware(cfg) })
	}
	_, err := cache.New(cache.Config{MaxEntry: -1, Name: "a b", LLM: cache.LLM{TTL: -1}})
	for _, want := range []string{"MaxEntry", "Name", "TTL"} {
		require.ErrorContains(t, err, want, "all faults at once")
	}
	require.NotPanics(t, func() { cache.Middleware(cache.Config{}) })
}

func TestBypass(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		method string
		header []string
		mark   string
	}{
		"DELETE":       {"DELETE", nil, "ginfer; fwd=method; detail=method"},
		"an upgrade":   {"GET", []string{"Connection", "Upgrade", "Upgrade", "websocket"}, "ginfer; fwd=bypass; detail=upgrade"},
		"a form":       {"POST", []string{"Content-Type", "application/x-www-form-urlencoded"}, "ginfer; fwd=bypass; detail=not-json"},
		"another JSON": {"POST", nil, "ginfer; fwd=bypass; detail=not-json"},
	} {
		l := &log{}
		r := app(newCache(t, cache.Config{OnEvent: l.On}), responds(200, "ok", "Cache-Status", "origin; hit").serve)
		w := do(r, request(tt.method, "/x", "x", tt.header...))
		require.Equal(t, "ok", w.Body.String(), name)
		require.Equal(t, []string{"origin; hit", tt.mark}, w.Header()["Cache-Status"], "%s: ours comes last", name)
		require.Len(t, l.of(cache.Bypassed), 1)
		require.NotEmpty(t, l.of(cache.Bypassed)[0].Reason)
	}
}

// A response that bypasses the cache is written by the server's own writer.
func TestWriterOfABypass(t *testing.T) {
	t.Parallel()
	for name, write := range map[string]func(gin.ResponseWriter){
		"Write":       func(w gin.ResponseWriter) { _, _ = w.Write([]byte("ok")) },
		"WriteString": func(w gin.ResponseWriter) { _, _ = w.WriteString("ok") },
		"Flush":       func(w gin.ResponseWriter) { w.Flush(); _, _ = w.WriteString("ok") },
		"controller":  func(w gin.ResponseWriter) { _ = http.NewResponseController(w).Flush(); _, _ = w.WriteString("ok") },
		"head":        func(w gin.ResponseWriter) { w.WriteHeaderNow(); _, _ = w.WriteString("ok") },
	} {
		w := do(app(newCache(t, cache.Config{}), func(c *gin.Context) { write(c.Writer) }), request("DELETE", "/", ""))
		require.Equal(t, "ok", w.Body.String(), name)
		require.Equal(t, []string{"ginfer; fwd=method; detail=method"}, w.Header()["Cache-Status"], name)
	}
	w := do(app(newCache(t, cache.Config{}), func(*gin.Context) {}), request("DELETE", "/", ""))
	require.NotEmpty(t, status(w))
}

func TestNoRoute(t *testing.T) {
	t.Parallel()
	r := gin.New()
	r.Use(newCache(t, cache.Config{}).Middleware())
	w := get(r, "/nowhere")
	require.Equal(t, 404, w.Code)
	require.Equal(t, "404 page not found", w.Body.String())
}

func TestStatus(t *testing.T) {
	t.Parallel()
	_, ok := cache.FromContext(context.Background())
	require.False(t, ok)
	var got []cache.Status
	r := gin.New()
	r.POST(chatPath, func(c *gin.Context) {
		c.Next()
		s, _ := cache.FromContext(c.Request.Context())
		got = append(got, s)
	}, newCache(t, cache.Config{Name: "edge", ShowKey: true}).Middleware(), responds(200, chatJSON, "Content-Type", jsonType).serve)
	post(r, chatPlain)
	w := post(r, chatPlain)
	post(r, warm)
	require.Len(t, got, 3)
	assert.True(t, got[0].Stored)
	assert.Equal(t, "miss", got[0].Forward)
	assert.False(t, got[0].Free())
	assert.True(t, got[1].Hit)
	assert.True(t, got[1].Free())
	assert.Equal(t, got[0].Key, got[1].Key)
	assert.Len(t, got[1].Key, 43)
	assert.Equal(t, `edge; hit; ttl=59; key="`+got[1].Key+`"`, status(w))
	assert.Equal(t, cache.Status{Forward: "bypass", Detail: "temperature"}, got[2])
}

// A request that is refused gets the response of the ErrorHandler.
func TestErrors(t *testing.T) {
	t.Parallel()
	r := app(newCache(t, cache.Config{ErrorHandler: apierror.Anthropic, Idempotency: cache.Idempotency{On: true, Required: true}}), responds(200, "x").serve)
	w := post(r, chatPlain)
	require.Equal(t, 400, w.Code)
	require.Contains(t, w.Body.String(), `"type":"error"`)
	require.NotEmpty(t, status(w))

	req := request(http.MethodPost, chatPath, "x")
	req.Body, req.ContentLength = broken{}, -1
	w = do(app(newCache(t, cache.Config{}), responds(200, "x").serve), req)
	require.Equal(t, 400, w.Code)
}

// broken is a body that cannot be read.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("broken") }
func (broken) Close() error             { return nil }

// A failure of the store is a miss, and an event.
func TestStoreFailure(t *testing.T) {
	t.Parallel()
	f, l := newFar(t), &log{}
	f.set(errDown, 0, false)
	u := responds(200, chatJSON, "Content-Type", jsonType)
	r := app(newCache(t, cache.Config{Store: f, OnEvent: l.On}), u.serve)
	for range 2 {
		require.Equal(t, 200, post(r, chatPlain).Code)
	}
	require.EqualValues(t, 2, u.calls.Load())
	require.Len(t, l.of(cache.Failed), 4)
	require.ErrorIs(t, l.of(cache.Failed)[0].Err, cache.ErrUnavailable)
	f.set(nil, 0, false)
	post(r, chatPlain)
	require.True(t, isHit(r, chatPlain), "the default store")
}
