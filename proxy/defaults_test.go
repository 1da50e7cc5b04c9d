package proxy_test

import (
	"net/http"
	"net/url"
	"reflect"
	"testing"

	"github.com/ginfer/ginfer/proxy"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What http.DefaultTransport sets, a transport that is built anew sets too.
func TestNoDefaultIsLost(t *testing.T) {
	t.Parallel()
	ours := map[string]string{
		"MaxIdleConns": "unlimited: a gateway has many upstreams; MaxIdleConnsPerHost bounds them",
	}
	for name, cfg := range map[string]proxy.TransportConfig{"": {}, "HTTP/2": {Protocol: "http2"}, "bounded": {MaxPerHost: 3}} {
		made, err := proxy.NewTransport(cfg)
		require.NoError(t, err)
		want := reflect.ValueOf(http.DefaultTransport).Elem()
		got := reflect.ValueOf(proxy.HTTPTransport(made)).Elem()
		for _, field := range reflect.VisibleFields(want.Type()) {
			if !field.IsExported() || want.FieldByIndex(field.Index).IsZero() || ours[field.Name] != "" {
				continue
			}
			assert.False(t, got.FieldByIndex(field.Index).IsZero(), "%s: %s", name, field.Name)
		}
		assert.Equal(t, http.DefaultTransport.(*http.Transport).ExpectContinueTimeout, proxy.HTTPTransport(made).ExpectContinueTimeout)
		assert.NotNil(t, proxy.HTTPTransport(made).Proxy, "the environment's, which TestNeighbourForwardProxyOfTheEnvironment shows")
	}
}

// The environment's proxy applies unless another one, or none, is configured.
func TestForwardProxy(t *testing.T) {
	t.Parallel()
	none, err := proxy.NewTransport(proxy.TransportConfig{Proxy: "none"})
	require.NoError(t, err)
	assert.Nil(t, proxy.HTTPTransport(none).Proxy)

	seen := make(chan *http.Request, 2)
	forward := setup{upstream: func(w http.ResponseWriter, r *http.Request) {
		seen <- r
		w.WriteHeader(http.StatusTeapot)
	}}.startUpstream(t)
	forward.User = url.UserPassword("me", "secret")
	tr, err := proxy.NewTransport(proxy.TransportConfig{Proxy: forward.String()})
	require.NoError(t, err)
	t.Cleanup(tr.CloseIdleConnections)
	for _, target := range []string{"http://model.invalid/v1/x", "https://model.invalid/v1/x"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, http.NoBody)
		require.NoError(t, err)
		res, err := tr.RoundTrip(req)
		if err == nil {
			assert.Equal(t, http.StatusTeapot, res.StatusCode)
			require.NoError(t, res.Body.Close())
		} else {
			require.ErrorContains(t, err, "teapot") // of the CONNECT
		}
		got := <-seen
		assert.Contains(t, got.URL.Host, "model.invalid")
		assert.Equal(t, "Basic bWU6c2VjcmV0", got.Header.Get("Proxy-Authorization"))
	}
}
