package live_test

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
	"github.com/ginfer/ginfer/examples/gateway/config"
	"github.com/ginfer/ginfer/examples/gateway/gatewaytest"
	"github.com/ginfer/ginfer/proxy"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// responding is a model's server that records the body and the header of the last request.
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

func TestNoInjectLeavesRequestsAlone(t *testing.T) {
	t.Parallel()
	const body = `{"model":"m","stream":true,"messages":[]}`
	for name, tt := range map[string]struct {
		option string
		asks   bool
	}{"by default": {"", true}, "off": {`, "no_inject": true`, false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			up := newResponding(t)
			g, err := gatewaytest.Load(t, gatewaytest.Write(t, "my.json", strings.ReplaceAll(gatewaytest.WithUpstream(tt.option), "http://127.0.0.1:1", up.URL)))
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, gatewaytest.Chat(t, g, body).Code)
			assert.Equal(t, tt.asks, strings.Contains(string(up.body), "include_usage"), "%s", up.body)
		})
	}
}

// Rate limit headers of the upstream pass where the gateway does not send its own.
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
			g, err := gatewaytest.Load(t, gatewaytest.Write(t, "my.json", strings.ReplaceAll(gatewaytest.WithGroup(tt.group, limits), "http://127.0.0.1:1", up.URL)))
			require.NoError(t, err)
			got := gatewaytest.Chat(t, g, `{"model":"m","messages":[]}`)
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
	g, err := gatewaytest.Load(t, gatewaytest.Write(t, "my.json", fmt.Sprintf(`{"upstreams": {"a": {"endpoints": [{"url": %q}]}}, "groups": [{"path": "/", "upstream": "a"}]}`, up.URL)))
	require.NoError(t, err)
	for _, name := range []string{"Authorization", "X-Api-Key", "Api-Key", "X-Goog-Api-Key"} {
		prefix := ""
		if name == "Authorization" {
			prefix = "Bearer "
		}
		assert.Equal(t, http.StatusOK, gatewaytest.Chat(t, g, `{"model":"m","messages":[]}`, name, prefix+g.Token()).Code, name)
		assert.NotContains(t, up.header, name)
		assert.Equal(t, http.StatusUnauthorized, gatewaytest.Chat(t, g, `{"model":"m","messages":[]}`, name, prefix+"x").Code, name)
	}
}

// Options reach the packages that they configure.
func TestOptionsAreReached(t *testing.T) {
	t.Parallel()
	g, err := gatewaytest.Load(t, gatewaytest.Write(t, "my.json", `{
		"memory": {"body_budget": 400, "body_share": 0.5},
		"upstreams": {"a": {"endpoints": [{"url": "http://127.0.0.1:1"}], "breaker": {"consecutive": 2, "callers": false, "sleep": "1h", "max_sleep": "2h"}}},
		"groups": [{"path": "/", "stages": [], "upstream": "a", "proxy": {
			"max_body": 100, "connect": "1s", "first_byte": "2s", "first_content": "3s", "prefetch": "4s", "idle": "6s", "stall": "5s", "total": "7s", "tunnel": "8s", "attempts": 1}}]}`))
	require.NoError(t, err)
	const s = time.Second
	assert.Equal(t, proxy.Timeouts{Connect: s, FirstByte: 2 * s, FirstContent: 3 * s, Hold: 4 * s, Idle: 6 * s, Stall: 5 * s, Total: 7 * s, Tunnel: 8 * s},
		g.Current().Groups[0].Proxy.Timeouts())
	assert.Equal(t, http.StatusServiceUnavailable, gatewaytest.Chat(t, g, `{"model":"`+strings.Repeat("m", 300)+`"}`).Code, "the share of one caller is 200 bytes")
	for range 2 {
		assert.Equal(t, http.StatusBadGateway, gatewaytest.Chat(t, g, `{"model":"m"}`).Code)
	}
	require.Len(t, g.Current().Upstreams["a"].Breakers.Status(), 1)
	assert.Equal(t, breaker.Open, g.Current().Upstreams["a"].Breakers.Status()[0].State)
}

// A change of an option that is a list or a switch makes a new pool.
func TestEveryOptionOfABreakerIsAChange(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, text := range []string{
		`{}`, `{"ramp": []}`, `{"ramp": [1]}`, `{"callers": false}`, `{"callers": true}`, `{"routes": false}`, `{"trickle": -1}`, `{"successes": 2}`, `{"step": "2s"}`,
	} {
		var b config.Breaker
		require.NoError(t, json.Unmarshal([]byte(text), &b))
		key, err := json.Marshal(config.Upstream{Breaker: b})
		require.NoError(t, err)
		assert.Empty(t, seen[string(key)], text)
		seen[string(key)] = text
	}
}
