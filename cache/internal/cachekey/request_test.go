package cachekey_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/ginfer/ginfer/cache/internal/cachekey"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func request(t *testing.T, target string, pairs ...string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, http.NoBody)
	require.NoError(t, err)
	for i := 0; i+1 < len(pairs); i += 2 {
		req.Header.Add(pairs[i], pairs[i+1])
	}
	return req
}

// sum returns the key of what build adds.
func sum(build func(*cachekey.Builder)) cachekey.Key {
	var pool cachekey.Pool
	b := pool.Get()
	defer pool.Put(b)
	build(b)
	return b.Sum()
}

// No part of a key can be expressed by another part.
func TestPartsAreUnambiguous(t *testing.T) {
	t.Parallel()
	seen := map[cachekey.Key]string{}
	for name, build := range map[string]func(*cachekey.Builder){
		"nothing":       func(*cachekey.Builder) {},
		"empty":         func(b *cachekey.Builder) { b.Add("") },
		"two empty":     func(b *cachekey.Builder) { b.Add(""); b.Add("") },
		"ab":            func(b *cachekey.Builder) { b.Add("ab") },
		"a, b":          func(b *cachekey.Builder) { b.Add("a"); b.Add("b") },
		"ab and empty":  func(b *cachekey.Builder) { b.Add("ab"); b.Add("") },
		"a with a zero": func(b *cachekey.Builder) { b.Add("a\x00b") },
		"a length":      func(b *cachekey.Builder) { b.AddLength(1) },
		"a negative":    func(b *cachekey.Builder) { b.AddLength(-1); b.Add("x") },
	} {
		k := sum(build)
		assert.Empty(t, seen[k], name)
		seen[k] = name
	}
	require.Equal(t, sum(func(b *cachekey.Builder) { b.Add("ab") }), sum(func(b *cachekey.Builder) { b.AddBytes([]byte("ab")) }))
	require.Equal(t, sum(func(b *cachekey.Builder) { b.Add("ab") }), sum(func(b *cachekey.Builder) { b.Add("x"); b.Reset(); b.Add("ab") }))
}

func TestKeyAsText(t *testing.T) {
	t.Parallel()
	k := sum(func(b *cachekey.Builder) { b.Add("a") })
	require.Len(t, k.String(), 43)
	require.Regexp(t, `^[\w-]+$`, k.String())
	one, two := k.With(1, 2), k.With(2, 1)
	require.NotEqual(t, k, one)
	require.NotEqual(t, one, two)
	require.Equal(t, one, k.With(1, 2))
}

// A Builder from the pool is empty, however it was left.
func TestPool(t *testing.T) {
	t.Parallel()
	var pool cachekey.Pool
	want := sum(func(b *cachekey.Builder) { b.Add("a") })
	for _, left := range []string{"", "left", strings.Repeat("large", 100_000)} {
		b := pool.Get()
		b.Add("a")
		require.Equal(t, want, b.Sum(), "%.10s", left)
		b.Add(left)
		pool.Put(b)
	}
}

func TestPath(t *testing.T) {
	t.Parallel()
	headers := cachekey.NewHeaders([]string{"x-device"})
	base := []string{"http://example.com/a/b?c=d"}
	for _, tt := range []struct {
		name    string
		request []string // target and pairs
		same    bool
	}{
		{"the same", base, true},
		{"another header", append(base[:1:1], "Accept", "x", "User-Agent", "y"), true},
		{"another host", []string{"http://example.org/a/b?c=d"}, true},
		{"another host that a proxy repeats", []string{"http://example.org/a/b?c=d", "X-Forwarded-Host", "example.org"}, true},
		{"another path", []string{"http://example.com/a/c?c=d"}, false},
		{"another escape", []string{"http://example.com/a%2Fb?c=d"}, false},
		{"another query", []string{"http://example.com/a/b?c=e"}, false},
		{"query in the path", []string{"http://example.com/a/b%3Fc=d"}, false},
		{"an override", append(base[:1:1], "X-Forwarded-Host", "evil.example"), false},
		{"a header of the operator", append(base[:1:1], "X-Device", "1"), false},
		{"an API version", append(base[:1:1], "Anthropic-Version", "1"), false},
	} {
		got := sum(func(b *cachekey.Builder) { b.AddPath(request(t, tt.request[0], tt.request[1:]...), headers) })
		want := sum(func(b *cachekey.Builder) { b.AddPath(request(t, base[0]), headers) })
		assert.Equal(t, tt.same, got == want, tt.name)
	}
	empty := request(t, "http://example.com/a?")
	none := request(t, "http://example.com/a")
	require.NotEqual(t, sum(func(b *cachekey.Builder) { b.AddPath(empty, headers) }), sum(func(b *cachekey.Builder) { b.AddPath(none, headers) }), "an empty query")
}

// The order of headers in the map does not matter, that of their values does.
func TestHeadersAreSorted(t *testing.T) {
	t.Parallel()
	var names []string
	for _, c := range "abcdefghij" { // more than fit without an allocation
		names = append(names, "X-"+string(c))
	}
	headers := cachekey.NewHeaders(names)
	build := func(pairs ...string) cachekey.Key {
		req := request(t, "http://example.com/", pairs...)
		return sum(func(b *cachekey.Builder) { b.AddPath(req, headers) })
	}
	var forward, backward []string
	for i := range names {
		forward = append(forward, names[i], "1")
		backward = append(backward, names[len(names)-1-i], "1")
	}
	for range 20 {
		require.Equal(t, build(forward...), build(backward...))
	}
	require.NotEqual(t, build("X-a", "1", "X-a", "2"), build("X-a", "2", "X-a", "1"))
	require.NotEqual(t, build("X-a", "1", "X-b", "2"), build("X-a", "1", "X-a", "X-b"))
}

func TestVariant(t *testing.T) {
	t.Parallel()
	key := func(req *http.Request, vary ...string) cachekey.Key {
		return sum(func(b *cachekey.Builder) { b.AddVariant(req, vary) })
	}
	plain := request(t, "http://example.com/", "Accept", "a", "X-B", "b")
	require.Equal(t, key(plain, "Accept"), key(request(t, "http://example.org/", "Accept", " a ", "X-B", "c"), "Accept"), "only the header counts, without spaces")
	require.NotEqual(t, key(plain, "Accept"), key(plain, "Accept", "X-B"))
	require.NotEqual(t, key(plain, "Host"), key(request(t, "http://example.org/", "Accept", "a"), "Host"))
	require.NotEqual(t, key(plain, "X-Missing"), key(request(t, "http://example.com/", "X-Missing", ""), "X-Missing"))
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name        string
		pairs       []string
		some        bool // of the caller
		credentials bool
	}{
		{"none", nil, false, false},
		{"a token", []string{"Authorization", "Bearer a"}, true, true},
		{"a key", []string{"X-Api-Key", "a"}, true, true},
		{"a key of Azure", []string{"Api-Key", "a"}, true, true},
		{"a key of Google", []string{"X-Goog-Api-Key", "a"}, true, true},
		{"a cookie", []string{"Cookie", "a=b"}, false, true},
		{"for a proxy", []string{"Proxy-Authorization", "Basic a"}, false, true},
		{"another header", []string{"X-User", "a"}, false, false},
	} {
		h := request(t, "http://example.com/", tt.pairs...).Header
		sum(func(b *cachekey.Builder) { assert.Equal(t, tt.some, b.AddCredentials(h), tt.name) })
		assert.Equal(t, tt.credentials, cachekey.HasCredentials(h), tt.name)
	}
	key := func(pairs ...string) cachekey.Key {
		h := request(t, "http://example.com/", pairs...).Header
		return sum(func(b *cachekey.Builder) { b.AddCredentials(h) })
	}
	require.NotEqual(t, key("Authorization", "a"), key("X-Api-Key", "a"))
	require.NotEqual(t, key("Authorization", "a"), key("Authorization", "a", "X-Api-Key", "b"))
}
