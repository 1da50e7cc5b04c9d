package cache_test

import (
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

const warm = `{"model":"m","temperature":1,"messages":[]}`

func idempotent(change func(*cache.Idempotency)) cache.Config {
	i := cache.Idempotency{On: true}
	if change != nil {
		change(&i)
	}
	return cache.Config{Idempotency: i}
}

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		cfg    cache.Config
		path   string
		body   string
		header []string
		code   int
		calls  int64
	}{
		"the same":                 {code: 200, calls: 1},
		"as a structured field":    {header: []string{"Idempotency-Key", `"k1"`}, code: 200, calls: 1},
		"another body":             {body: chatPlain, code: 422, calls: 1},
		"another path":             {path: "/v1/messages", code: 422, calls: 1},
		"another query":            {path: chatPath + "?a", code: 422, calls: 1},
		"another key":              {header: []string{"Idempotency-Key", "k2"}, code: 200, calls: 2},
		"another caller":           {header: []string{"Authorization", "Bearer bob"}, code: 200, calls: 2},
		"a key with spaces":        {header: []string{"Idempotency-Key", "k 1"}, code: 400, calls: 1},
		"an empty key":             {header: []string{"Idempotency-Key", `""`}, code: 400, calls: 1},
		"a long key":               {header: []string{"Idempotency-Key", strings.Repeat("k", 256)}, code: 400, calls: 1},
		"none":                     {header: []string{"Idempotency-Key", "-"}, code: 200, calls: 2},
		"none, but it is required": {cfg: idempotent(func(i *cache.Idempotency) { i.Required = true }), header: []string{"Idempotency-Key", "-"}, code: 400, calls: 1},
	} {
		u := responds(200, chatJSON, "Content-Type", jsonType)
		cfg := tt.cfg
		if !cfg.Idempotency.On {
			cfg = idempotent(nil)
		}
		r := app(newCache(t, cfg), u.serve)
		first := post(r, warm, "Idempotency-Key", "k1")
		require.Equal(t, 200, first.Code)
		body, path := warm, chatPath
		if tt.body != "" {
			body = tt.body
		}
		if tt.path != "" {
			path = tt.path
		}
		req := request(http.MethodPost, path, body, append([]string{"Idempotency-Key", "k1"}, tt.header...)...)
		if req.Header.Get("Idempotency-Key") == "-" {
			req.Header.Del("Idempotency-Key")
		}
		w := do(r, req)
		assert.Equal(t, tt.code, w.Code, name)
		assert.Equal(t, tt.calls, u.calls.Load(), name)
		assert.NotEmpty(t, status(w), name)
		if tt.code == 200 && tt.calls == 1 {
			assert.Equal(t, first.Body.String(), w.Body.String(), name)
		}
	}
}

func TestOnlyWholeResponsesAreReplayed(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		u      *upstream
		replay bool
	}{
		"created":                  {responds(201, `{"id":%d}`, "Content-Type", jsonType), true},
		"no content":               {responds(204, ""), true},
		"text":                     {responds(200, "%d"), true},
		"an error":                 {responds(500, `{"id":%d}`, "Content-Type", jsonType), false},
		"a bad request":            {responds(400, `{"id":%d}`, "Content-Type", jsonType), false},
		"a redirection":            {responds(303, "%d"), false},
		"an error with 200":        {responds(200, `{"error":{"id":%d}}`, "Content-Type", jsonType), false},
		"half of it":               {responds(200, `{"id":%d`, "Content-Type", jsonType), false},
		"a wrong length":           {responds(200, "%d", "Content-Length", "100"), false},
		"a stream":                 {streams(events("a")...), true},
		"a stream without end":     {streams(events("a")[:2]...), false},
		"a filtered response":      {responds(200, strings.Replace(chatJSON, "stop", "content_filter", 1), "Content-Type", jsonType), true},
		"a stream with an error":   {streams("data: {}\n\n", "event: error\ndata: {}\n\n", "data: [DONE]\n\n"), false},
		"a response with a cookie": {responds(200, "%d", "Set-Cookie", "a=b"), true},
	} {
		r := app(newCache(t, idempotent(nil)), tt.u.serve)
		first := post(r, warm, "Idempotency-Key", "k")
		second := post(r, warm, "Idempotency-Key", "k")
		assert.Equal(t, tt.replay, tt.u.calls.Load() == 1, "%s: %s", name, status(second))
		if tt.replay {
			assert.Equal(t, first.Code, second.Code, name)
			assert.Equal(t, first.Body.String(), second.Body.String(), name)
			assert.Empty(t, second.Header().Get("Set-Cookie"), name)
		}
	}
}

func TestConcurrentRequestsWithOneKey(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		cfg     cache.Config
		same    int
		another int
	}{
		"follow":   {idempotent(nil), 200, 422},
		"conflict": {idempotent(func(i *cache.Idempotency) { i.Conflict = true }), 409, 422},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				u := &upstream{}
				u.handle = func(c *gin.Context) {
					time.Sleep(time.Second)
					c.JSON(200, gin.H{"id": u.calls.Load()})
				}
				r := app(newCache(t, tt.cfg), u.serve)
				var wg sync.WaitGroup
				wg.Go(func() { assert.Equal(t, 200, post(r, warm, "Idempotency-Key", "k").Code) })
				synctest.Wait()
				for range 10 {
					wg.Go(func() { assert.Equal(t, tt.same, post(r, warm, "Idempotency-Key", "k").Code) })
					wg.Go(func() { assert.Equal(t, tt.another, post(r, chatPlain, "Idempotency-Key", "k").Code) })
				}
				wg.Wait()
				require.EqualValues(t, 1, u.calls.Load())
				require.Equal(t, 200, post(r, warm, "Idempotency-Key", "k").Code)
				require.EqualValues(t, 1, u.calls.Load())
			})
		})
	}
}

func TestRecordedResponseExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		u := responds(200, `{"id":%d}`, "Content-Type", jsonType)
		r := app(newCache(t, idempotent(func(i *cache.Idempotency) { i.TTL = time.Minute })), u.serve)
		post(r, warm, "Idempotency-Key", "k")
		time.Sleep(59 * time.Second)
		require.Equal(t, `{"id":1}`, post(r, warm, "Idempotency-Key", "k").Body.String())
		time.Sleep(time.Second)
		require.Equal(t, `{"id":2}`, post(r, warm, "Idempotency-Key", "k").Body.String())
	})
}

// PATCH may have a key too, and a request with a key may invalidate an address.
func TestIdempotentRequestsInvalidate(t *testing.T) {
	t.Parallel()
	u := &upstream{}
	u.handle = func(c *gin.Context) {
		c.Header("Cache-Control", "max-age=60")
		c.String(200, "%d", u.calls.Load())
	}
	r := app(newCache(t, idempotent(nil)), u.serve)
	require.Equal(t, "1", get(r, "/item").Body.String())
	patch := func() string {
		return do(r, request(http.MethodPatch, "/item", "x", "Idempotency-Key", "k", "Authorization", "Bearer a")).Body.String()
	}
	require.Equal(t, "2", patch())
	require.Equal(t, "2", patch())
	require.Equal(t, "3", get(r, "/item").Body.String())
	require.EqualValues(t, 3, u.calls.Load())
}

func TestMalformedIdempotencyKeys(t *testing.T) {
	t.Parallel()
	u := responds(200, "{}", "Content-Type", jsonType)
	r := app(newCache(t, idempotent(nil)), u.serve)
	for name, tt := range map[string]struct {
		values []string
		code   int
	}{
		"bare":                   {[]string{"k"}, 200},
		"quoted":                 {[]string{`"k"`}, 200},
		"with spaces around":     {[]string{"  k\t"}, 200},
		"255 characters":         {[]string{strings.Repeat("k", 255)}, 200},
		"256 characters":         {[]string{strings.Repeat("k", 256)}, 400},
		"255 characters, quoted": {[]string{`"` + strings.Repeat("k", 255) + `"`}, 200},
		"empty":                  {[]string{""}, 400},
		"empty, quoted":          {[]string{`""`}, 400},
		"one quote":              {[]string{`"`}, 400},
		"a quote inside":         {[]string{`a"b`}, 400},
		"a backslash":            {[]string{`a\b`}, 400},
		"a space inside":         {[]string{"a b"}, 400},
		"a control character":    {[]string{"a\x00b"}, 400},
		"not ASCII":              {[]string{"é"}, 400},
		"two values":             {[]string{"a", "a"}, 400},
	} {
		req := request(http.MethodPost, "/orders", "{}")
		req.Header["Idempotency-Key"] = tt.values
		w := do(r, req)
		require.Equal(t, tt.code, w.Code, name)
		if tt.code == 400 {
			require.Contains(t, w.Body.String(), "idempotency_key_invalid", name)
		}
	}
}

// A body that is too long for the mark bypasses the cache, and so does one without a
// caller.
func TestIdempotencyBypass(t *testing.T) {
	t.Parallel()
	cfg := idempotent(nil)
	cfg.MaxRequest = 10
	u := responds(200, "%d")
	r := app(newCache(t, cfg), u.serve)
	long := func() *httptest.ResponseRecorder {
		return do(r, request(http.MethodPost, "/", strings.Repeat("x", 11), "Idempotency-Key", "k"))
	}
	require.Equal(t, "ginfer; fwd=bypass; detail=request-too-long", status(long()))
	require.Equal(t, "2", long().Body.String())
	anonymous := request(http.MethodPost, "/", "{}", "Idempotency-Key", "k")
	anonymous.Header.Del("Authorization")
	require.Equal(t, "ginfer; fwd=bypass; detail=no-scope", status(do(r, anonymous)))
}
