package live_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ginfer/ginfer/examples/gateway/gatewaytest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// An upstream's connections end as configured.
func TestConnectionsOfAnUpstream(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		option string
		pause  time.Duration
		one    bool // connection for all requests
	}{
		"by default":     {``, 0, true},
		"max_requests":   {`, "connections": {"max_requests": 1}`, 0, false},
		"max_age":        {`, "connections": {"max_age": "1ms"}`, 5 * time.Millisecond, false},
		"idle":           {`, "connections": {"idle": "1ms"}`, 5 * time.Millisecond, false},
		"none kept":      {`, "connections": {"max_idle": -1}`, 0, false},
		"without bounds": {`, "connections": {"max_requests": -1, "max_age": "off", "idle": "off"}`, 5 * time.Millisecond, true},
		"one at a time":  {`, "connections": {"max": 1}`, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var conns atomic.Int64
			up := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, `{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}`)
			}))
			up.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
				conns.Add(1)
				return ctx
			}
			up.Start()
			t.Cleanup(up.Close)
			g, err := gatewaytest.Load(t, gatewaytest.Write(t, "my.json", strings.ReplaceAll(gatewaytest.WithUpstream(tt.option), "http://127.0.0.1:1", up.URL)))
			require.NoError(t, err)
			for range 3 {
				require.Equal(t, http.StatusOK, gatewaytest.Chat(t, g, `{"model":"m","messages":[]}`).Code)
				<-time.After(tt.pause)
			}
			assert.Equal(t, tt.one, conns.Load() == 1, conns.Load())
		})
	}
}

// Requests go through the forward proxy that is configured, with its credentials.
func TestForwardProxyOfAnUpstream(t *testing.T) {
	t.Setenv("GATEWAY_TEST_PROXY_PASSWORD", "secret")
	seen := make(chan *http.Request, 1)
	forward := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r
		_, _ = io.WriteString(w, `{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}`)
	}))
	t.Cleanup(forward.Close)
	at, err := url.Parse(forward.URL)
	require.NoError(t, err)
	option := `, "proxy": "http://me:${GATEWAY_TEST_PROXY_PASSWORD}@` + at.Host + `"`
	g, err := gatewaytest.Load(t, gatewaytest.Write(t, "my.json", strings.ReplaceAll(gatewaytest.WithUpstream(option), "http://127.0.0.1:1", "http://model.invalid")))
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, gatewaytest.Chat(t, g, `{"model":"m","messages":[]}`).Code)
	got := <-seen
	assert.Equal(t, "model.invalid", got.URL.Host)
	assert.Equal(t, "Basic bWU6c2VjcmV0", got.Header.Get("Proxy-Authorization"))
}
