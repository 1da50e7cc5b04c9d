package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ginfer/ginfer/breaker"
	"github.com/ginfer/ginfer/proxy"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// responding is a model's server that keeps the last request's body and header.
type responding struct {
	*httptest.Server

	body   []byte
	header http.Header
}

func newResponding(t *testing.T) *responding {
	t.Helper()
	s := new(responding)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.body, _ = io.ReadAll(r.Body)
		s.header = r.Header
		h := w.Header()
		h.Set("Content-Type", "application/json")
		for _, name := range []string{"X-Ratelimit-Remaining-Requests", "X-Ratelimit-Remaining-Tokens", "Ratelimit"} {
			h.Set(name, "upstream")
		}
		_, _ = io.WriteString(w, `{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1}}`)
	}))
	t.Cleanup(s.Close)
	return s
}

// chat sends a chat to a gateway of one group.
func chat(t *testing.T, g *gateway, body string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/chat/completions", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	g.ServeHTTP(w, r)
	return w
}

func TestNoInjectLeavesRequestsAlone(t *testing.T) {
	t.Parallel()
	const asked = `{"model":"m","stream":true,"messages":[]}`
	for name, tt := range map[string]struct {
		option string
		asks   bool
	}{"by default": {"", true}, "off": {`, "no_inject": true`, false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			up := newResponding(t)
			g, err := load(t, write(t, "my.json", strings.ReplaceAll(withUpstream(tt.option), "http://127.0.0.1:1", up.URL)))
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, chat(t, g, asked).Code)
			assert.Equal(t, tt.asks, strings.Contains(string(up.body), "include_usage"), "%s", up.body)
		})
	}
}

// What the upstream says of its limits passes where none of ours says the same.
func TestLimitsOfTheUpstream(t *testing.T) {
	t.Parallel()
	up := newResponding(t)
	const limits = `"limits": {"r": {"unit": "requests", "by": "everybody", "rate": "5/m", "burst": 5}, "t": {"unit": "tokens", "by": "everybody", "rate": "60000/m", "burst": 9000}}`
	for name, tt := range map[string]struct {
		group string
		ours  []string
	}{
		"none":     {``, nil},
		"requests": {`, "stages": ["limits"], "limits": ["r"]`, []string{"X-Ratelimit-Remaining-Requests", "Ratelimit"}},
		"tokens":   {`, "stages": ["limits"], "limits": ["t"]`, []string{"X-Ratelimit-Remaining-Tokens", "Ratelimit"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, err := load(t, write(t, "my.json", strings.ReplaceAll(withGroup(tt.group, limits), "http://127.0.0.1:1", up.URL)))
			require.NoError(t, err)
			got := chat(t, g, `{"model":"m","messages":[]}`)
			require.Equal(t, http.StatusOK, got.Code, got.Body)
			for _, header := range []string{"X-Ratelimit-Remaining-Requests", "X-Ratelimit-Remaining-Tokens", "Ratelimit"} {
				values := got.Header()[header]
				require.Len(t, values, 1, header)
				theirs := values[0] == "upstream"
				assert.NotEqual(t, theirs, slices.Contains(tt.ours, header), "%s: %s", header, values[0])
			}
		})
	}
}

// Each SDK has a header of its own for the token, and none of them goes upstream.
func TestTokenInEverySDKsHeader(t *testing.T) {
	t.Parallel()
	up := newResponding(t)
	g, err := load(t, write(t, "my.json", fmt.Sprintf(`{"upstreams": {"a": {"endpoints": [{"url": %q}]}}, "groups": [{"path": "/", "upstream": "a"}]}`, up.URL)))
	require.NoError(t, err)
	for _, name := range []string{"Authorization", "X-Api-Key", "Api-Key", "X-Goog-Api-Key"} {
		prefix := ""
		if name == "Authorization" {
			prefix = "Bearer "
		}
		assert.Equal(t, http.StatusOK, chat(t, g, `{"model":"m","messages":[]}`, name, prefix+g.token).Code, name)
		assert.NotContains(t, up.header, name)
		assert.Equal(t, http.StatusUnauthorized, chat(t, g, `{"model":"m","messages":[]}`, name, prefix+"x").Code, name)
	}
}

// Options reach the parts that they are for.
func TestOptionsAreReached(t *testing.T) {
	t.Parallel()
	g, err := load(t, write(t, "my.json", `{
		"memory": {"body_budget": 400, "body_share": 0.5},
		"upstreams": {"a": {"endpoints": [{"url": "http://127.0.0.1:1"}], "breaker": {"consecutive": 2, "callers": false, "sleep": "1h", "max_sleep": "2h"}}},
		"groups": [{"path": "/", "stages": [], "upstream": "a", "proxy": {
			"max_body": 100, "connect": "1s", "first_byte": "2s", "first_content": "3s", "hold": "4s", "idle": "6s", "stall": "5s", "total": "7s", "tunnel": "8s", "tries": 1}}]}`))
	require.NoError(t, err)
	const s = time.Second
	assert.Equal(t, proxy.Timeouts{Connect: s, FirstByte: 2 * s, FirstContent: 3 * s, Hold: 4 * s, Idle: 6 * s, Stall: 5 * s, Total: 7 * s, Tunnel: 8 * s},
		g.current.Load().groups[0].proxy.Timeouts())
	assert.Equal(t, http.StatusServiceUnavailable, chat(t, g, `{"model":"`+strings.Repeat("m", 300)+`"}`).Code, "the share of one caller is 200 bytes")
	for range 2 {
		assert.Equal(t, http.StatusBadGateway, chat(t, g, `{"model":"m"}`).Code)
	}
	require.Len(t, g.pools["a"].breakers.Status(), 1)
	assert.Equal(t, breaker.Open, g.pools["a"].breakers.Status()[0].State)
}

// A change of an option that is a list or a switch makes a new pool.
func TestEveryOptionOfABreakerIsAChange(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, text := range []string{
		`{}`, `{"ramp": []}`, `{"ramp": [1]}`, `{"callers": false}`, `{"callers": true}`, `{"routes": false}`, `{"trickle": -1}`, `{"successes": 2}`, `{"step": "2s"}`,
	} {
		var b Breaker
		require.NoError(t, json.Unmarshal([]byte(text), &b))
		key, err := json.Marshal(Upstream{Breaker: b})
		require.NoError(t, err)
		assert.Empty(t, seen[string(key)], text)
		seen[string(key)] = text
	}
}
