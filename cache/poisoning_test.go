package cache_test

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"reflect"
	"strconv"
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

// mirror is an upstream that responds with its request, cacheable.
func mirror(header ...string) *upstream {
	return &upstream{handle: func(c *gin.Context) {
		c.Header("Cache-Control", "public, max-age=60")
		for i := 0; i+1 < len(header); i += 2 {
			c.Header(header[i], header[i+1])
		}
		body, _ := io.ReadAll(c.Request.Body)
		c.String(200, "%s %s %s %s %q %s", c.Request.Method, c.Request.Host, c.Request.URL.EscapedPath(), c.Request.URL.RawQuery, body, hostSeen(c.Request.Header))
	}}
}

// hostSeen is the address that a careless application believes to be its own.
func hostSeen(h http.Header) string {
	for _, name := range []string{"X-Forwarded-Host", "X-Host", "X-Original-Url", "X-Rewrite-Url", "X-Http-Method-Override", "X-Forwarded-Proto", "X-Forwarded-Prefix", "Forwarded", "Origin"} {
		if v := h.Get(name); v != "" {
			return v
		}
	}
	return "own"
}

// Each case is a request of an attacker; afterwards all others must get what they would
// have got without it.
func TestUnkeyedInput(t *testing.T) {
	t.Parallel()
	for name, attack := range map[string]func() *http.Request{
		"another host":       func() *http.Request { return request("GET", "/page", "", "X-Forwarded-Host", "evil.example") },
		"a host of its own":  func() *http.Request { return request("GET", "/page", "", "X-Host", "evil.example") },
		"another URL":        func() *http.Request { return request("GET", "/page", "", "X-Original-URL", "/admin") },
		"a rewritten URL":    func() *http.Request { return request("GET", "/page", "", "X-Rewrite-URL", "/admin") },
		"another method":     func() *http.Request { return request("GET", "/page", "", "X-HTTP-Method-Override", "POST") },
		"another scheme":     func() *http.Request { return request("GET", "/page", "", "X-Forwarded-Proto", "gopher") },
		"another prefix":     func() *http.Request { return request("GET", "/page", "", "X-Forwarded-Prefix", "//evil.example") },
		"Forwarded":          func() *http.Request { return request("GET", "/page", "", "Forwarded", "host=evil.example") },
		"another origin":     func() *http.Request { return request("GET", "/page", "", "Origin", "https://evil.example") },
		"a fat GET":          func() *http.Request { return request("GET", "/page", "q=evil") },
		"the Host header":    func() *http.Request { r := request("GET", "/page", ""); r.Host = "evil.example"; return r },
		"an escaped slash":   func() *http.Request { return request("GET", "/x%2f..%2fpage", "") },
		"two slashes":        func() *http.Request { return request("GET", "//page", "") },
		"another case":       func() *http.Request { return request("GET", "/PAGE", "") },
		"an escaped letter":  func() *http.Request { return request("GET", "/%70age", "") },
		"a path parameter":   func() *http.Request { return request("GET", "/page;jsessionid=evil", "") },
		"a query":            func() *http.Request { return request("GET", "/page?evil", "") },
		"an empty query":     func() *http.Request { return request("GET", "/page?", "") },
		"an escaped query":   func() *http.Request { return request("GET", "/page%3fevil", "") },
		"a NUL":              func() *http.Request { return request("GET", "/page%00", "") },
		"a fragment":         func() *http.Request { return request("GET", "/page%23evil", "") },
		"a slash at the end": func() *http.Request { return request("GET", "/page/", "") },
		"a suffix":           func() *http.Request { return request("GET", "/page/evil.css", "") },
	} {
		u := mirror()
		r := app(newCache(t, cache.Config{}), u.serve)
		want := get(app(newCache(t, cache.Config{}), mirror().serve), "/page").Body.String()
		mine := do(r, attack())
		for range 2 {
			w := get(r, "/page")
			assert.Equal(t, want, w.Body.String(), name)
		}
		again := do(r, attack())
		assert.Equal(t, mine.Body.String(), again.Body.String(), name)
	}
}

// Parameters that servers parse differently are different requests.
func TestParameterCloaking(t *testing.T) {
	t.Parallel()
	r := app(newCache(t, cache.Config{}), mirror().serve)
	seen := map[string]string{}
	for _, query := range []string{"a=1&b=2", "b=2&a=1", "a=1&b=2&a=3", "a=1;b=2", "a=1&b=2;a=3", "a=1%26b=2", "a=1&b=2&", "a=1&&b=2", "A=1&b=2", "a=1&b=2&utm_content=x;a=3"} {
		body := get(r, "/p?"+query).Body.String()
		require.Contains(t, body, query)
		seen[body] = query
		require.Equal(t, body, get(r, "/p?"+query).Body.String())
	}
	require.Len(t, seen, 10)
}

// A personal page is not stored because its address looks like a file.
func TestCacheDeception(t *testing.T) {
	t.Parallel()
	for name, header := range map[string][]string{
		"no header":         nil,
		"Last-Modified":     {"Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT"},
		"private":           {"Cache-Control", "private, max-age=60"},
		"a cookie, max-age": {"Cache-Control", "max-age=60"},
	} {
		u := &upstream{handle: func(c *gin.Context) {
			for i := 0; i+1 < len(header); i += 2 {
				c.Header(header[i], header[i+1])
			}
			cookie, _ := c.Cookie("session")
			c.String(200, "account of %s", cookie)
		}}
		r := app(newCache(t, cache.Config{}), u.serve)
		for _, path := range []string{"/account/x.css", "/account%2fx.js", "/account;x.png", "/account/.jpg", "/static/../account", "/account%00.css"} {
			require.Equal(t, "account of victim", get(r, path, "Cookie", "session=victim").Body.String(), name)
			require.Equal(t, "account of evil", get(r, path, "Cookie", "session=evil").Body.String(), "%s %s", name, path)
			require.Equal(t, "account of ", get(r, path).Body.String(), "%s %s", name, path)
		}
	}
}

// A client that makes the upstream name another header in Vary does not evict the entries
// of others, and gets none of them.
func TestVaryOfOneClient(t *testing.T) {
	t.Parallel()
	u := &upstream{}
	u.handle = func(c *gin.Context) {
		c.Header("Cache-Control", "max-age=60")
		vary := "Accept-Language"
		if c.GetHeader("X-Evil") != "" {
			vary = c.GetHeader("X-Evil")
		}
		c.Header("Vary", vary)
		c.String(200, "%s %s", c.GetHeader("Accept-Language"), c.GetHeader("X-Evil"))
	}
	r := app(newCache(t, cache.Config{}), u.serve)
	for i, evil := range []string{"X-Evil", "X-Evil, X-A", "Accept-Language", "*", strings.Repeat("X-B,", 20)} {
		for _, language := range []string{"de", "en"} {
			get(r, "/", "Accept-Language", language, "X-Evil", evil)
			require.Equal(t, language+" ", get(r, "/", "Accept-Language", language).Body.String(), "%d %s", i, evil)
			require.Contains(t, status(get(r, "/", "Accept-Language", language)), "; hit", "%d %s", i, evil)
		}
	}
}

// Many values of a Vary header fill the cache, and do no other harm.
func TestManyVariants(t *testing.T) {
	t.Parallel()
	m := memory(t, cache.MemoryConfig{Entries: 100})
	r := app(newCache(t, cache.Config{Store: m}), mirror("Vary", "X-A").serve)
	for i := range 2000 {
		get(r, "/", "X-A", strconv.Itoa(i))
	}
	require.LessOrEqual(t, m.Len(), 100)
}

// forTenant is a slow upstream that responds with the name of the tenant.
func forTenant() *upstream {
	return &upstream{handle: func(c *gin.Context) {
		tenant := c.GetHeader("X-Tenant")
		time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
		body, _ := io.ReadAll(c.Request.Body)
		if !strings.Contains(string(body), `"stream":true`) {
			c.Data(200, jsonType, []byte(strings.NewReplacer("%d", "1", "Hello", "for "+tenant).Replace(chatJSON)))
			return
		}
		c.Header("Content-Type", "text/event-stream")
		for _, e := range events("for ", tenant) {
			_, _ = c.Writer.WriteString(e)
			c.Writer.Flush()
			time.Sleep(time.Millisecond)
		}
	}}
}

// requireOwn requires a response that names no other tenant.
func requireOwn(t *testing.T, tenant, text string) {
	t.Helper()
	for _, other := range []string{"alice", "bob", "carol"} {
		if !strings.Contains(tenant, other) {
			assert.NotContains(t, text, `"`+other+`"`)
			assert.NotContains(t, text, "for "+other)
		}
	}
}

// No response crosses tenants, for any concurrent requests in any form.
func TestTenantsStayApart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		u := forTenant()
		c := newCache(t, cache.Config{
			Scope: func(c *gin.Context) (string, error) { return c.GetHeader("X-Tenant"), nil },
			LLM:   cache.LLM{TTL: 30 * time.Millisecond, StaleWhileRevalidate: 30 * time.Millisecond, StaleIfError: time.Second},
		})
		r := app(c, u.serve)
		together(300, func(i int) {
			tenant := []string{"alice", "bob", "carol", "alice\x00", "", "tenant:alice"}[i%6]
			for range 5 {
				time.Sleep(time.Duration(rand.IntN(30)) * time.Millisecond)
				body := []string{chatPlain, chatStream, usageStream}[rand.IntN(3)]
				requireOwn(t, tenant, post(r, body, "X-Tenant", tenant).Body.String())
			}
		})
		require.NoError(t, c.Drain(t.Context()))
		require.Less(t, u.calls.Load(), int64(1500))
	})
}

// No part of a key can be expressed by another part.
func TestKeysAreUnambiguous(t *testing.T) {
	t.Parallel()
	keys := map[string]string{}
	l := &log{}
	r := app(newCache(t, cache.Config{OnEvent: l.On, KeyHeaders: []string{"X-A", "X-B"}, Shared: true, Version: func(c *gin.Context) string { return c.GetHeader("X-V") }}), mirror().serve)
	for _, tt := range [][]string{
		{"/a"}, {"/a?b"}, {"/a%3Fb"}, {"/a", "X-A", "b"}, {"/a", "X-B", "b"}, {"/a", "X-A", "X-B"}, {"/a", "X-A", "b", "X-B", ""}, {"/aX-A"}, {"/a", "X-V", "b"}, {"/a", "X-V", "bX-A"}, {"/a", "X-V", "X-A"}, {"/a?", "X-V", ""},
	} {
		get(r, tt[0], tt[1:]...)
		stored := l.of(cache.Stored)
		key := stored[len(stored)-1].Key
		require.Empty(t, keys[key], "%v", tt)
		keys[key] = fmt.Sprint(tt)
	}
}

// The leader's own header does not reach its followers.
func TestHeaderOfTheLeader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		u := &upstream{handle: func(c *gin.Context) {
			c.Header("Content-Type", "text/event-stream")
			c.Header("Set-Cookie", "session=leader")
			c.Header("X-Request-Id", "leader")
			c.Header("X-Ratelimit-Remaining-Tokens", "7")
			c.Header("Openai-Organization", "leader")
			for _, e := range events("a", "b") {
				time.Sleep(time.Second)
				_, _ = c.Writer.WriteString(e)
			}
		}}
		r := gin.New()
		n := 0
		r.POST(chatPath, func(c *gin.Context) {
			n++
			c.Header("X-Number", strconv.Itoa(n))
			c.Header("Access-Control-Allow-Origin", c.GetHeader("X-From"))
		}, newCache(t, cache.Config{}).Middleware(), u.serve)
		var wg sync.WaitGroup
		wg.Go(func() {
			w := post(r, chatStream, "X-From", "leader")
			assert.Equal(t, "session=leader", w.Header().Get("Set-Cookie"))
			assert.Equal(t, "1", w.Header().Get("X-Number"))
		})
		synctest.Wait()
		check := func(want string) {
			w := post(r, chatStream, "X-From", "follower")
			for name, values := range w.Header() {
				assert.NotContains(t, values, "leader", name)
				assert.NotContains(t, values, "session=leader", name)
			}
			assert.Equal(t, want, w.Header().Get("X-Number"))
			assert.Equal(t, "follower", w.Header().Get("Access-Control-Allow-Origin"))
			assert.Empty(t, w.Header().Get("X-Ratelimit-Remaining-Tokens"))
		}
		wg.Go(func() { check("2") })
		wg.Wait()
		check("3")
		require.EqualValues(t, 1, u.calls.Load())
	})
}

// A shared cache coalesces requests of different callers; one without permission must not
// affect those with it.
func TestLeaderWithoutPermission(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		u := &upstream{handle: func(c *gin.Context) {
			time.Sleep(time.Second)
			if c.GetHeader("Authorization") == "Bearer evil" {
				c.JSON(401, gin.H{"error": gin.H{}})
				return
			}
			c.Data(200, jsonType, []byte(strings.Replace(chatJSON, "%d", "1", 1)))
		}}
		r := app(newCache(t, cache.Config{Shared: true}), u.serve)
		var wg sync.WaitGroup
		wg.Go(func() { assert.Equal(t, 401, post(r, chatPlain, "Authorization", "Bearer evil").Code) })
		synctest.Wait()
		for range 5 {
			wg.Go(func() { assert.Equal(t, 200, post(r, chatPlain).Code) })
		}
		wg.Wait()
		require.True(t, isHit(r, chatPlain))
	})
}

// No body breaks the cache, and each request gets its own response, cached or not.
func FuzzRequest(f *testing.F) {
	for _, seed := range []string{chatPlain, chatStream, usageStream, `{"temperature":0,"temperature":1}`, `[]`, `{"model":"\ud800","temperature":0}`, strings.Repeat(`{"messages":`, 200)} {
		f.Add(seed, seed)
	}
	u := &upstream{handle: func(c *gin.Context) {
		body, _ := io.ReadAll(c.Request.Body)
		c.JSON(200, gin.H{"choices": []gin.H{{"finish_reason": "stop"}}, "request": string(body)})
	}}
	f.Fuzz(func(t *testing.T, a, b string) {
		r := app(newCache(t, cache.Config{Shared: true}), u.serve)
		post(r, a)
		w := post(r, b)
		require.Equal(t, 200, w.Code)
		if a != b && strings.Contains(status(w), "; hit") {
			require.True(t, sameRequest(a, b), "the response to %q was served for %q", a, b)
		}
	})
}

// sameRequest compares requests member by member, but for those that do not matter.
func sameRequest(a, b string) bool {
	var x, y map[string]any
	if json.Unmarshal([]byte(a), &x) != nil || json.Unmarshal([]byte(b), &y) != nil {
		return false
	}
	for _, name := range []string{"stream", "stream_options", "user", "metadata", "store", "background"} {
		delete(x, name)
		delete(y, name)
	}
	return reflect.DeepEqual(x, y)
}
