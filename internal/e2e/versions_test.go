package e2e_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/breaker"
	"github.com/ginfer/ginfer/proxy"
	"github.com/ginfer/ginfer/routing"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Two versions behind one endpoint, as behind one server of many adapters: when one of them
// fails, the circuit stays closed for the other.
func TestAFailingVersionClosesNoOther(t *testing.T) {
	t.Parallel()
	upstream := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if strings.Contains(string(body), "adapter-2") {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}`)
	}))
	group, err := breaker.New(breaker.Config{})
	require.NoError(t, err)
	t.Cleanup(group.Close)
	table, err := routing.ParseTable([]byte(`{"routes": [
		{"model": "m", "version": "v2", "upstream": "u", "upstream_model": "adapter-2", "conditions": {"headers": {"X-Version": "2"}}},
		{"model": "m", "version": "v1", "upstream": "u", "upstream_model": "adapter-1"}]}`))
	require.NoError(t, err)
	router, err := routing.New(routing.Config{Table: table, Upstreams: map[string]http.RoundTripper{"u": group.Transport(toHost{upstream.Listener.Addr().String()})}})
	require.NoError(t, err)
	relay, err := proxy.New(proxy.Config{Transport: router.Transport(), Retry: proxy.Retry{Attempts: -1}})
	require.NoError(t, err)
	engine := gin.New()
	engine.POST("/v1/chat/completions", router.Middleware(), relay.Handler())
	call := func(version string) int {
		req := httptest.NewRequest(http.MethodPost, "/v1/chat/completions", strings.NewReader(`{"model":"m","messages":[]}`))
		req.Header.Set("X-Version", version)
		req.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		engine.ServeHTTP(w, req)
		return w.Code
	}
	for range 20 {
		require.Equal(t, http.StatusOK, call("1"))
		call("2")
	}
	assert.Equal(t, http.StatusServiceUnavailable, call("2"), "its circuit is open")
	assert.Equal(t, http.StatusOK, call("1"))
	assert.Equal(t, breaker.Closed, group.Status()[0].State)
}

// toHost sends requests to an address.
type toHost struct{ host string }

// RoundTrip implements http.RoundTripper.
func (h toHost) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.URL.Host = h.host
	return http.DefaultTransport.RoundTrip(req)
}
