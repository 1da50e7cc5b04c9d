package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/cache"
	"github.com/ginfer/ginfer/proxy"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestNeighbourInformationalThroughTheCache: 102 and 103 reach the client through a cache and a
// proxy at once, with their own header only, and the final response is stored without them.
func TestNeighbourInformationalThroughTheCache(t *testing.T) {
	t.Parallel()
	seen := make(chan struct{})
	upstream := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</a.css>")
		w.WriteHeader(http.StatusProcessing)
		w.WriteHeader(http.StatusEarlyHints)
		select {
		case <-seen:
		case <-time.After(10 * time.Second): // the hint is late: the test fails
		}
		w.Header().Set("Link", "</b.css>")
		w.Header().Set("Cache-Control", "max-age=60")
		_, _ = io.WriteString(w, "ok")
	}))
	target, err := url.Parse(upstream.URL)
	require.NoError(t, err)
	stage, err := cache.New(cache.Config{})
	require.NoError(t, err)
	relay, err := proxy.New(proxy.Config{Transport: newTransport(t, proxy.TransportConfig{}), Target: target})
	require.NoError(t, err)
	r := gin.New()
	r.Use(func(c *gin.Context) { c.Header("X-Set-Before", "1") })
	r.GET("/", stage.Middleware(), relay.Handler())
	server, client := newServer(t, r), newClient(t, 1)
	for _, hit := range []bool{false, true} {
		var hints []string
		trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			hints = append(hints, fmt.Sprint(code, h["Link"], h["X-Set-Before"]))
			if code == http.StatusEarlyHints {
				close(seen) // reached only if the hint is not delayed
			}
			return nil
		}}
		req, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), http.MethodGet, server.URL, http.NoBody)
		require.NoError(t, err)
		res, err := client.Do(req)
		require.NoError(t, err)
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		assert.Equal(t, "ok", string(body))
		assert.Equal(t, []string{"</b.css>"}, res.Header["Link"])
		assert.Equal(t, "1", res.Header.Get("X-Set-Before"))
		if hit {
			assert.Contains(t, res.Header.Get("Cache-Status"), "; hit")
			assert.Empty(t, hints)
			continue
		}
		assert.Equal(t, []string{"102 [</a.css>] []", "103 [</a.css>] []"}, hints)
	}
}
