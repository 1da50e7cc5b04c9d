package proxy_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/proxy"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/ginfer/ginfer/routing"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestBodiesConfig(t *testing.T) {
	t.Parallel()
	for want, cfg := range map[string]proxy.BodiesConfig{
		"Limit and Budget": {Limit: -1},
		"must not be":      {Budget: -1},
		"Share":            {Share: 1.5},
	} {
		_, err := proxy.NewBodies(cfg)
		require.ErrorContains(t, err, want)
	}
}

// served serves limits, routing to another model name upstream, and the proxy, with one limit
// on bodies. The upstream echoes the body.
func served(t *testing.T, cfg proxy.BodiesConfig, first ...gin.HandlerFunc) (*proxy.Bodies, *httptest.Server) {
	t.Helper()
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Encoding", r.Header.Get("Content-Encoding"))
		b, _ := io.ReadAll(r.Body)
		_, _ = w.Write(b)
	}))
	t.Cleanup(upstream.Close)
	bodies, err := proxy.NewBodies(cfg)
	require.NoError(t, err)
	table, err := routing.ParseTable([]byte(`{"routes":[{"model":"m","version":"a","upstream_model":"served"}]}`))
	require.NoError(t, err)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	router, err := routing.New(routing.Config{Table: table, Upstreams: map[string]http.RoundTripper{"a": transport}})
	require.NoError(t, err)
	limits, err := ratelimit.NewTokens(ratelimit.TokensConfig{Key: ratelimit.Global, Rate: 1000, Burst: 20_000})
	require.NoError(t, err)
	target, err := http.NewRequest(http.MethodGet, upstream.URL, nil)
	require.NoError(t, err)
	p, err := proxy.New(proxy.Config{Target: target.URL, Transport: router.Transport()})
	require.NoError(t, err)
	e := gin.New()
	e.Use(bodies.Middleware())
	e.Use(first...)
	e.POST("/*path", limits.Middleware(), router.Middleware(), p.Handler())
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	return bodies, server
}

// reply is the head of a response.
type reply struct {
	StatusCode int
	Header     http.Header
}

func ask(t *testing.T, server *httptest.Server, sent io.Reader, header ...string) (reply, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/v1/chat/completions", sent)
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := server.Client().Do(req)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return reply{res.StatusCode, res.Header}, string(b)
}

// withPicture is a request with n bytes of a picture.
func withPicture(model string, n int) string {
	return `{"model":"` + model + `","messages":[{"role":"user","content":[{"type":"text","text":"hi"},{"type":"image_url","image_url":{"url":"data:image/png;base64,` + strings.Repeat("A", n) + `"}}]}]}`
}

// One limit applies to every stage: a picture of 5 MB passes them all, is priced as a picture,
// and reaches the model by its other name. Beyond the limit the rest streams.
func TestBodiesReachAllStages(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]proxy.BodiesConfig{"held": {}, "streamed": {Limit: 1 << 20}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bodies, server := served(t, cfg)
			for range 3 { // the limit has room for 20,000 tokens
				res, got := ask(t, server, strings.NewReader(withPicture("m", 5<<20)))
				require.Equal(t, http.StatusOK, res.StatusCode, "%.200s", got)
				assert.Equal(t, sha256.Sum256([]byte(withPicture("served", 5<<20))), sha256.Sum256([]byte(got)), "%d bytes", len(got))
			}
			require.Eventually(t, func() bool { return bodies.Used() == 0 }, 10*time.Second, time.Millisecond)
		})
	}
}

// A compressed request is parsed, and sent without compression if its model is renamed.
func TestCompressedRequest(t *testing.T) {
	t.Parallel()
	_, server := served(t, proxy.BodiesConfig{})
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err := io.WriteString(z, withPicture("m", 1000))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	res, got := ask(t, server, &packed, "Content-Encoding", "gzip")
	assert.Equal(t, http.StatusOK, res.StatusCode)
	assert.Empty(t, res.Header.Get("X-Encoding"))
	assert.Equal(t, withPicture("served", 1000), got)
	res, got = ask(t, server, strings.NewReader("xyz"), "Content-Encoding", "br")
	assert.Equal(t, http.StatusUnsupportedMediaType, res.StatusCode)
	assert.Contains(t, got, "unsupported_encoding")
}

// A middleware that decompresses bodies may leave the length as it was; one that reads them
// must keep them.
func TestBodyOfAnotherMiddleware(t *testing.T) {
	t.Parallel()
	_, server := served(t, proxy.BodiesConfig{Limit: 1 << 20}, func(c *gin.Context) {
		c.Request.Body = io.NopCloser(strings.NewReader(withPicture("m", 10<<20)))
	})
	res, got := ask(t, server, strings.NewReader("packed"))
	require.Equal(t, http.StatusOK, res.StatusCode, "%.200s", got)
	assert.Equal(t, sha256.Sum256([]byte(withPicture("served", 10<<20))), sha256.Sum256([]byte(got)), "%d bytes", len(got))

	for kept, want := range map[bool]int{true: http.StatusOK, false: http.StatusInternalServerError} {
		_, server := served(t, proxy.BodiesConfig{}, func(c *gin.Context) {
			var v map[string]any
			if kept {
				_ = c.ShouldBindBodyWithJSON(&v)
			} else {
				_ = c.ShouldBindJSON(&v)
			}
		})
		res, got := ask(t, server, strings.NewReader(withPicture("m", 10)))
		assert.Equal(t, want, res.StatusCode)
		if !kept {
			assert.Contains(t, got, "body_consumed")
		}
	}
}

// A client that writes first can read the refusal of a long upload.
func TestRefusedUploadIsRead(t *testing.T) {
	t.Parallel()
	_, server := served(t, proxy.BodiesConfig{Limit: 1000})
	for range 3 {
		res, got := ask(t, server, strings.NewReader(`{"x":"`+strings.Repeat("x", 8<<20)+`","model":"m"}`))
		assert.Equal(t, http.StatusRequestEntityTooLarge, res.StatusCode)
		assert.Contains(t, got, "request_too_large")
	}
}
