package e2e_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	ginzip "github.com/gin-contrib/gzip"
	"github.com/gin-gonic/gin"
	"github.com/gin-gonic/gin/binding"
	"github.com/ginfer/ginfer/proxy"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sent is what an upstream receives of a body.
type sent struct {
	size int
	sum  [sha256.Size]byte
}

// inbox is the last body that an upstream received whole. A handler can outlive its request.
type inbox struct {
	sync.Mutex

	last sent
}

func (i *inbox) put(s sent) {
	i.Lock()
	defer i.Unlock()
	i.last = s
}

// take returns the last body and forgets it.
func (i *inbox) take() sent {
	i.Lock()
	defer i.Unlock()
	defer func() { i.last = sent{} }()
	return i.last
}

func sentOf(b []byte) sent { return sent{len(b), sha256.Sum256(b)} }

// bodies is a server with a middleware in front of the proxy, and what its upstream receives.
func bodies(t *testing.T, cfg proxy.Config, first gin.HandlersChain, touch gin.HandlerFunc) (*httptest.Server, *inbox) {
	t.Helper()
	got := new(inbox)
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err == nil {
			got.put(sentOf(b))
		}
		_, _ = io.WriteString(w, `{"ok":true}`)
	}))
	t.Cleanup(upstream.Close)
	target, err := url.Parse(upstream.URL)
	require.NoError(t, err)
	cfg.Target, cfg.Transport = target, newTransport(t, proxy.TransportConfig{})
	p, err := proxy.New(cfg)
	require.NoError(t, err)
	r := gin.New()
	r.Use(first...)
	r.POST("/*path", touch, p.Handler())
	server := httptest.NewUnstartedServer(r)
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	return server, got
}

func zipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}

type chatBody struct {
	Model string `json:"model" form:"model"`
	Pad   string `json:"pad" form:"pad"`
}

// touches are what middlewares in front do with a body. Kept ones reach the upstream; lost ones
// are a 500 that names the cause.
func touches() map[string]struct {
	touch gin.HandlerFunc
	kept  bool
	zip   bool
} {
	type touch = struct {
		touch gin.HandlerFunc
		kept  bool
		zip   bool
	}
	unzip := func(c *gin.Context) {
		z, err := gzip.NewReader(c.Request.Body)
		if err != nil {
			c.AbortWithStatus(http.StatusBadRequest)
			return
		}
		c.Request.Header.Del("Content-Encoding")
		c.Request.Body = z
	}
	return map[string]touch{
		"untouched":          {func(*gin.Context) {}, true, false},
		"ShouldBindJSON":     {func(c *gin.Context) { _ = c.ShouldBindJSON(new(chatBody)) }, false, false},
		"ShouldBindBodyWith": {func(c *gin.Context) { _ = c.ShouldBindBodyWith(new(chatBody), binding.JSON) }, true, false},
		"both": {func(c *gin.Context) {
			_ = c.ShouldBindBodyWith(new(chatBody), binding.JSON)
			_ = c.ShouldBindJSON(new(chatBody))
		}, true, false},
		"GetRawData": {func(c *gin.Context) { _, _ = c.GetRawData() }, false, false},
		"ReadAll and Close": {func(c *gin.Context) {
			_, _ = io.ReadAll(c.Request.Body)
			_ = c.Request.Body.Close()
		}, false, false},
		"ReadAll and NoBody": {func(c *gin.Context) {
			_, _ = io.ReadAll(c.Request.Body)
			c.Request.Body = http.NoBody
		}, false, false},
		"a part": {func(c *gin.Context) { _, _ = io.CopyN(io.Discard, c.Request.Body, 10) }, false, false},
		"put back": {func(c *gin.Context) {
			b, _ := io.ReadAll(c.Request.Body)
			c.Request.Body = io.NopCloser(bytes.NewReader(b))
		}, true, false},
		"MaxBytesReader": {func(c *gin.Context) {
			c.Request.Body = http.MaxBytesReader(c.Writer, c.Request.Body, 1<<30)
		}, true, false},
		"MaxBytesReader and read": {func(c *gin.Context) {
			c.Request.Body = http.MaxBytesReader(c.Writer, c.Request.Body, 1<<30)
			_ = c.ShouldBindJSON(new(chatBody))
		}, false, false},
		"gin-contrib/gzip":    {ginzip.DefaultDecompressHandle, true, true},
		"gzip, length left":   {unzip, true, true},
		"gzip, with a bound":  {func(c *gin.Context) { unzip(c); c.Request.Body = http.MaxBytesReader(c.Writer, c.Request.Body, 1<<30) }, true, true},
		"gzip and read":       {func(c *gin.Context) { unzip(c); _ = c.ShouldBindJSON(new(chatBody)) }, false, true},
		"gzip, read and kept": {func(c *gin.Context) { unzip(c); _ = c.ShouldBindBodyWith(new(chatBody), binding.JSON) }, true, true},
	}
}

// A body that a middleware in front has read or decoded reaches the upstream as it is meant, or is
// refused with the cause: never empty, never in part, and never the client's or upstream's fault.
func TestNeighbourBody(t *testing.T) { //nolint:gocognit // a table
	t.Parallel()
	first, err := proxy.NewBodies(proxy.BodiesConfig{Limit: 64 << 10})
	require.NoError(t, err)
	chains := map[string]struct {
		cfg   proxy.Config
		first gin.HandlersChain
		// blind means that an empty body of unknown length looks like a consumed one
		blind bool
	}{
		"held":                {proxy.Config{}, nil, true},
		"held, Bodies first":  {proxy.Config{}, gin.HandlersChain{first.Within(64 << 20).Middleware()}, false},
		"beyond the limit":    {proxy.Config{}, gin.HandlersChain{first.Middleware()}, false},
		"streamed":            {proxy.Config{MaxBody: -1}, nil, true},
		"streamed, of a size": {proxy.Config{MaxBody: 1000}, gin.HandlersChain{first.Middleware()}, false},
	}
	for name, chain := range chains {
		for how, tt := range touches() {
			t.Run(name+", "+how, func(t *testing.T) {
				t.Parallel()
				server, got := bodies(t, chain.cfg, chain.first, tt.touch)
				for _, size := range []int{1, 3 << 20} {
					for _, chunked := range []bool{false, true} {
						if chunked && chain.blind && !tt.kept {
							continue
						}
						plain := []byte(`{"model":"m","pad":"` + strings.Repeat("x", size) + `"}`)
						got.take()
						status, text := post(t, server, plain, tt.zip, chunked)
						if tt.kept {
							require.Equal(t, http.StatusOK, status, text)
							assert.Equal(t, sentOf(plain), got.take())
							continue
						}
						require.Equal(t, http.StatusInternalServerError, status, "%d %v %s", size, chunked, text)
						assert.Contains(t, text, "body_consumed")
						assert.Zero(t, got.take().size)
					}
				}
			})
		}
	}
}

func post(t *testing.T, server *httptest.Server, plain []byte, zip, chunked bool) (int, string) {
	t.Helper()
	wire := plain
	if zip {
		wire = zipped(plain)
	}
	var reader io.Reader = bytes.NewReader(wire)
	if chunked {
		reader = io.MultiReader(reader)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/v1/chat/completions", reader)
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	if zip {
		req.Header.Set("Content-Encoding", "gzip")
	}
	res, err := server.Client().Do(req)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, string(text)
}
