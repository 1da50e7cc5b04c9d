package admin_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ginfer/ginfer/examples/gateway/admin"
	"github.com/ginfer/ginfer/examples/gateway/gatewaytest"
	"github.com/ginfer/ginfer/examples/gateway/live"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const plainGroup = `"groups": [{"path": "/", "stages": [], "upstream": "a"}]`

// adminOf returns a gateway that is ready, and its private port.
func adminOf(t *testing.T, config string) (*live.Gateway, *httptest.Server) {
	t.Helper()
	g := gatewaytest.LoadText(t, config)
	g.SetReady(true)
	s := httptest.NewServer(admin.New(g))
	t.Cleanup(s.Close)
	return g, s
}

func request(t *testing.T, method, url string, header ...string) (status int, head http.Header, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, http.NoBody)
	require.NoError(t, err)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	transport := &http.Transport{DisableKeepAlives: true}
	res, err := transport.RoundTrip(req)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, res.Header, string(text)
}

// A site that rebinds its DNS name to this machine is refused.
func TestPageRebinding(t *testing.T) {
	t.Parallel()
	g, _ := adminOf(t, `{`+gatewaytest.UpstreamA+`, "private": {"hosts": ["gw.example.com"]}, `+plainGroup+`}`)
	for host, want := range map[string]int{
		"127.0.0.1:9090": 200, "[::1]:9090": 200, "::1": 200, "localhost:9090": 200, "LOCALHOST": 200, "gateway-private:9090": 200,
		"gw.ns.svc:9090": 200, "gw.ns.svc.cluster.local.": 200, "GW.example.com:9090": 200, "": 200,
		"evil.example:9090": 421, "127.0.0.1.evil.example": 421, "gw.example.com.evil.example": 421, "svc.evil": 421,
	} {
		for _, path := range []string{"/livez", "/admin/config", "/admin/"} {
			r := httptest.NewRequest(http.MethodGet, path, http.NoBody)
			r.Host = host
			w := httptest.NewRecorder()
			admin.New(g).ServeHTTP(w, r)
			assert.Equal(t, want, w.Code, "%s %s", host, path)
		}
	}
}

// What another site has a browser send changes nothing; what is not a browser may.
func TestPageCrossSite(t *testing.T) {
	t.Parallel()
	_, s := adminOf(t, `{`+gatewaytest.UpstreamA+`, "queue": {"dir": `+fmt.Sprintf("%q", t.TempDir())+`}, `+plainGroup+`}`)
	host := strings.TrimPrefix(s.URL, "http://")
	for name, tt := range map[string]struct {
		header []string
		passes bool
	}{
		"no browser":             {nil, true},
		"the page itself":        {[]string{"Sec-Fetch-Site", "same-origin", "Origin", s.URL}, true},
		"an old browser":         {[]string{"Origin", "http://" + host}, true},
		"another site":           {[]string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, false},
		"the same site":          {[]string{"Sec-Fetch-Site", "same-site", "Origin", "http://x." + host}, false},
		"an old browser's other": {[]string{"Origin", "https://evil.example"}, false},
		"a sandboxed frame":      {[]string{"Origin", "null"}, false},
	} {
		for _, ask := range [][2]string{
			{http.MethodPost, "/admin/breakers/a/open?endpoint=127.0.0.1:1"},
			{http.MethodPut, "/admin/config"},
			{http.MethodPost, "/admin/reload"},
			{http.MethodPost, "/admin/cache/purge"},
			{http.MethodPost, "/admin/rollouts/x/pause"},
			{http.MethodPost, "/admin/queue/dead/1/replay"},
			{http.MethodDelete, "/admin/queue/dead/1"},
		} {
			status, _, text := request(t, ask[0], s.URL+ask[1], tt.header...)
			if tt.passes {
				assert.NotEqual(t, http.StatusForbidden, status, "%s %s", name, ask)
				continue
			}
			assert.Equal(t, http.StatusForbidden, status, "%s %s", name, ask)
			assert.Contains(t, text, "cross_site")
		}
	}
	_, _, circuits := request(t, http.MethodGet, s.URL+"/admin/breakers")
	assert.Contains(t, circuits, `"forced":true`)
}

func TestPageFiles(t *testing.T) {
	t.Parallel()
	_, s := adminOf(t, `{`+gatewaytest.UpstreamA+`, `+plainGroup+`}`)
	status, head, _ := request(t, http.MethodGet, s.URL+"/")
	assert.Equal(t, http.StatusFound, status)
	assert.Equal(t, "/admin/", head.Get("Location"))
	for path, kind := range map[string]string{
		"": "text/html", "page.css": "text/css", "page.js": "text/javascript", "charts.js": "text/javascript", "icon.svg": "image/svg+xml",
		"vendor/uPlot.iife.min.js": "text/javascript", "vendor/uPlot.min.css": "text/css", "vendor/LICENSE": "text/plain",
	} {
		status, head, text := request(t, http.MethodGet, s.URL+"/admin/"+path)
		assert.Equal(t, http.StatusOK, status, path)
		assert.Contains(t, head.Get("Content-Type"), kind, path)
		assert.Equal(t, "default-src 'self'; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'", head.Get("Content-Security-Policy"))
		assert.Equal(t, "nosniff", head.Get("X-Content-Type-Options"))
		assert.Equal(t, "no-referrer", head.Get("Referrer-Policy"))
		if !strings.HasPrefix(path, "vendor") {
			assert.NotContains(t, text, "innerHTML", "what clients choose is text")
		}
		status, _, _ = request(t, http.MethodGet, s.URL+"/admin/"+path, "If-None-Match", head.Get("ETag"))
		assert.Equal(t, http.StatusNotModified, status, path)
	}
}

// watching is a feed being read.
type watching struct {
	t     *testing.T
	res   *http.Response
	lines *bufio.Scanner
}

func watchFeed(t *testing.T, s *httptest.Server) *watching {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/admin/live", http.NoBody)
	require.NoError(t, err)
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	require.NoError(t, err)
	t.Cleanup(func() { _ = res.Body.Close() })
	w := &watching{t, res, bufio.NewScanner(res.Body)}
	w.lines.Buffer(nil, 1<<20)
	return w
}

// next is the next event, nil at the end.
func (w *watching) next() map[string]any {
	w.t.Helper()
	for w.lines.Scan() {
		if text, ok := bytes.CutPrefix(w.lines.Bytes(), []byte("data: ")); ok {
			var e map[string]any
			require.NoError(w.t, json.Unmarshal(text, &e))
			return e
		}
	}
	return nil
}

// The feed has all in one document, and a history at its beginning; its last event says
// that the gateway ends.
func TestLiveFeed(t *testing.T) {
	t.Parallel()
	g, s := adminOf(t, `{`+gatewaytest.UpstreamA+`, `+plainGroup+`}`)
	g.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/<b>", http.NoBody)) // no server listens
	w := watchFeed(t, s)
	assert.Equal(t, "text/event-stream", w.res.Header.Get("Content-Type"))
	assert.Equal(t, "no-store", w.res.Header.Get("Cache-Control"))
	first := w.next()
	require.NotNil(t, first)
	assert.Equal(t, true, first["ready"])
	assert.Nil(t, first["queue"])
	assert.Empty(t, first["rollouts"])
	assert.NotEmpty(t, first["config"].(map[string]any)["revision"])
	assert.Len(t, first["requests"], 1)
	upstream := first["upstreams"].([]any)[0].(map[string]any)
	assert.Equal(t, "a", upstream["name"])
	endpoint := upstream["endpoints"].([]any)[0].(map[string]any)
	assert.Equal(t, "closed", endpoint["circuits"].([]any)[0].(map[string]any)["state"])
	assert.Contains(t, endpoint["url"], endpoint["host"])
	second := w.next()
	require.NotNil(t, second)
	assert.NotContains(t, second, "history")
	assert.Contains(t, watchFeed(t, s).next(), "history", "of the first second")

	g.SetReady(false)
	for e := second; e["ready"] == true; {
		e = w.next()
		require.NotNil(t, e)
	}
	assert.Nil(t, w.next(), "it ended")
}

// So many pages may be open, and each that is closed makes room.
func TestLiveFeedBounded(t *testing.T) {
	t.Parallel()
	g, s := adminOf(t, `{`+gatewaytest.UpstreamA+`, `+plainGroup+`}`)
	all := make([]*watching, 32)
	for i := range all {
		all[i] = watchFeed(t, s)
		require.NotNil(t, all[i].next())
	}
	full := watchFeed(t, s)
	assert.Equal(t, http.StatusServiceUnavailable, full.res.StatusCode)
	require.NoError(t, all[0].res.Body.Close())
	require.Eventually(t, func() bool {
		w := watchFeed(t, s)
		defer func() { _ = w.res.Body.Close() }()
		return w.res.StatusCode == http.StatusOK
	}, 10*time.Second, 50*time.Millisecond)
	g.SetReady(false)
}
