package e2e_test

import (
	"bufio"
	"compress/gzip"
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gin-contrib/cors"
	gzipped "github.com/gin-contrib/gzip"
	"github.com/gin-contrib/pprof"
	"github.com/gin-contrib/requestid"
	"github.com/gin-contrib/secure"
	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/internal/testkit/writers"
	"github.com/ginfer/ginfer/observe"
	"github.com/ginfer/ginfer/proxy"
	"github.com/ginfer/ginfer/stream"
	sloggin "github.com/samber/slog-gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/contrib/instrumentation/github.com/gin-gonic/gin/otelgin"
)

// neighbour is what stands before the proxy.
type neighbour struct {
	uses     []gin.HandlerFunc
	setup    func(e *gin.Engine)
	around   func(h http.Handler) http.Handler
	buffers  bool // the whole response is held back: nothing can be streamed
	unbroken bool // no write deadline reaches the connection
}

func logNothing() *slog.Logger { return slog.New(slog.DiscardHandler) }

// writerNeighbours are middlewares of others, below gin's own logger and recovery.
func writerNeighbours(t *testing.T) map[string]neighbour {
	t.Helper()
	log, err := observe.NewAccessLog(observe.AccessLogConfig{Logger: logNothing()})
	require.NoError(t, err)
	timeout := func(limit time.Duration) func(http.Handler) http.Handler {
		return func(h http.Handler) http.Handler { return http.TimeoutHandler(h, limit, "too late") }
	}
	compress := gzipped.Gzip(gzipped.DefaultCompression)
	return map[string]neighbour{
		"nothing":              {},
		"gzip":                 {uses: []gin.HandlerFunc{compress}},
		"embedding":            {uses: []gin.HandlerFunc{writers.Embedding}},
		"unwrapping":           {uses: []gin.HandlerFunc{writers.Unwrapping}},
		"opaque":               {uses: []gin.HandlerFunc{writers.Opaque}, unbroken: true},
		"opaque behind log":    {uses: []gin.HandlerFunc{log.Middleware(), writers.Opaque}},
		"opaque behind stream": {uses: []gin.HandlerFunc{stream.Middleware(stream.Config{WriteTimeout: 200 * time.Millisecond}), writers.Opaque}},
		"all writers":          {uses: []gin.HandlerFunc{writers.Embedding, compress, writers.Unwrapping, writers.Embedding}},
		"requestid":            {uses: []gin.HandlerFunc{requestid.New()}},
		"secure":               {uses: []gin.HandlerFunc{secure.New(secure.Config{FrameDeny: true, ContentTypeNosniff: true})}},
		"cors":                 {uses: []gin.HandlerFunc{cors.Default()}},
		"otelgin":              {uses: []gin.HandlerFunc{otelgin.Middleware("gateway")}},
		"slog":                 {uses: []gin.HandlerFunc{sloggin.NewWithConfig(logNothing(), sloggin.Config{WithResponseBody: true, WithRequestBody: true})}},
		"pprof":                {setup: func(e *gin.Engine) { pprof.Register(e) }},
		"TimeoutHandler":       {around: timeout(time.Minute), buffers: true},
		"TimeoutHandler, gzip": {around: timeout(300 * time.Millisecond), uses: []gin.HandlerFunc{compress}, buffers: true},
	}
}

// front starts the neighbour with stream and proxy before an upstream, and returns its address.
func (n neighbour) front(t *testing.T, protocol string, upstream http.Handler) string {
	t.Helper()
	e := gin.New()
	e.Use(gin.LoggerWithWriter(io.Discard), gin.RecoveryWithWriter(io.Discard)) // gin.Default, in silence
	e.Use(n.uses...)
	if n.setup != nil {
		n.setup(e)
	}
	target, err := url.Parse(newQuietServer(t, upstream).URL)
	require.NoError(t, err)
	p, err := proxy.New(proxy.Config{Target: target, Transport: newTransport(t, proxy.TransportConfig{})})
	require.NoError(t, err)
	guard := stream.Middleware(stream.Config{Heartbeat: 20 * time.Millisecond, WriteTimeout: 200 * time.Millisecond})
	e.NoRoute(guard, p.Handler())
	var h http.Handler = e
	if protocol == "gin's h2c" {
		e.UseH2C = true
		h = e.Handler()
	}
	if n.around != nil {
		h = n.around(h)
	}
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	switch protocol {
	case "h2":
		s.EnableHTTP2 = true
		s.StartTLS()
	case "h2c":
		s.Config.Protocols = new(http.Protocols)
		s.Config.Protocols.SetUnencryptedHTTP2(true)
		s.Start()
	default:
		s.Start()
	}
	t.Cleanup(s.Close)
	return s.URL
}

// fetch sends a request over the protocol and returns the response, as it comes.
func fetch(t *testing.T, protocol, address string) *http.Response {
	t.Helper()
	transport := &http.Transport{DisableCompression: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP1(protocol == "h1")
	transport.Protocols.SetHTTP2(protocol == "h2")
	transport.Protocols.SetUnencryptedHTTP2(strings.HasSuffix(protocol, "h2c"))
	transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err == nil {
			t.Cleanup(func() { _ = conn.Close() }) // gin's h2c outlives its server
		}
		return conn, err
	}
	t.Cleanup(transport.CloseIdleConnections)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, http.NoBody)
	require.NoError(t, err)
	req.Header.Set("Accept-Encoding", "gzip")
	res, err := transport.RoundTrip(req)
	if err != nil {
		return &http.Response{Body: io.NopCloser(&failedRead{err})}
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	return res
}

type failedRead struct{ err error }

func (b *failedRead) Read([]byte) (int, error) { return 0, b.err }

// plain returns the response's body without its compression.
func plainBody(t *testing.T, res *http.Response) io.Reader {
	t.Helper()
	if res.Header.Get("Content-Encoding") != "gzip" {
		return res.Body
	}
	z, err := gzip.NewReader(res.Body)
	require.NoError(t, err)
	return z
}

// overNeighbours runs f for each neighbour and each protocol.
func overNeighbours(t *testing.T, f func(t *testing.T, n neighbour, protocol string)) {
	t.Helper()
	for name, n := range writerNeighbours(t) {
		for _, protocol := range []string{"h1", "h2", "h2c", "gin's h2c"} {
			t.Run(name+", "+protocol, func(t *testing.T) {
				t.Parallel()
				f(t, n, protocol)
			})
		}
	}
}

// A response that breaks off upstream is broken for the client too, whoever stands between.
func TestNeighbourWritersCut(t *testing.T) {
	t.Parallel()
	heads := map[string]string{
		"length":  "Content-Type: text/plain\r\nContent-Length: 100000\r\n\r\nhalf",
		"chunked": "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{\"a\"\r\n",
		"events":  "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n",
		"event":   "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n7\r\ndata: 1\r\n",
	}
	upstream := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if !assert.NoError(t, err) {
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n"+heads[strings.Trim(r.URL.Path, "/")])
	})
	overNeighbours(t, func(t *testing.T, n neighbour, protocol string) {
		t.Helper()
		address := n.front(t, protocol, upstream)
		for name := range heads {
			res := fetch(t, protocol, address+"/"+name) //nolint:bodyclose // fetch does it
			if res.StatusCode == http.StatusServiceUnavailable && n.buffers {
				continue // the timeout's own response
			}
			body, err := io.ReadAll(res.Body)
			require.Error(t, err, "%s: a clean end after %d bytes of %d: %q", name, len(body), res.ContentLength, body)
			require.NoError(t, t.Context().Err())
		}
	})
}

// Between two events the reason for the cut comes first.
func TestNeighbourWritersErrorEvent(t *testing.T) {
	t.Parallel()
	upstream := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeEvents(w, "data: 1")
		panic(http.ErrAbortHandler)
	})
	overNeighbours(t, func(t *testing.T, n neighbour, protocol string) {
		t.Helper()
		if n.buffers {
			t.Skip("the response is held back until its end")
		}
		res := fetch(t, protocol, n.front(t, protocol, upstream)) //nolint:bodyclose // fetch does it
		require.Equal(t, http.StatusOK, res.StatusCode)
		body, err := io.ReadAll(plainBody(t, res))
		require.Error(t, err)
		assert.Regexp(t, `^data: 1\n\n(:\n+)*event: error\ndata: \{`, string(body))
	})
}

// Each event arrives when it is sent, and heartbeats in a silence, also compressed.
func TestNeighbourWritersHeartbeat(t *testing.T) {
	t.Parallel()
	overNeighbours(t, func(t *testing.T, n neighbour, protocol string) {
		t.Helper()
		if n.buffers {
			t.Skip("the response is held back until its end")
		}
		next := make(chan struct{})
		res := fetch(t, protocol, n.front(t, protocol, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { //nolint:bodyclose // fetch does it
			writeEvents(w, "data: 1")
			<-next
			writeEvents(w, "data: 2")
		})))
		require.Equal(t, http.StatusOK, res.StatusCode)
		lines := bufio.NewScanner(plainBody(t, res))
		read := func(want string) {
			for lines.Scan() && lines.Text() != want {
				require.Contains(t, []string{"", ":"}, lines.Text())
			}
			require.NoError(t, lines.Err(), want)
			require.Equal(t, want, lines.Text())
		}
		read("data: 1")
		read(":")
		close(next)
		read("data: 2")
		for lines.Scan() {
			require.Contains(t, []string{"", ":"}, lines.Text())
		}
		require.NoError(t, lines.Err(), "a clean end")
	})
}

// A client that does not read loses its response, and the upstream call ends.
func TestNeighbourWritersSlowClient(t *testing.T) {
	t.Parallel()
	overNeighbours(t, func(t *testing.T, n neighbour, protocol string) {
		t.Helper()
		if n.buffers || n.unbroken {
			t.Skip("only http.Server.WriteTimeout can end it")
		}
		ended := make(chan struct{})
		noise := make([]byte, 64<<10) // compression must not make it small
		_, _ = rand.Read(noise)
		part := fmt.Sprintf("data: %x", noise)
		res := fetch(t, protocol, n.front(t, protocol, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { //nolint:bodyclose // fetch does it
			defer close(ended)
			for r.Context().Err() == nil {
				writeEvents(w, part)
			}
		})))
		require.Equal(t, http.StatusOK, res.StatusCode)
		select {
		case <-ended:
		case <-time.After(patience):
			require.Fail(t, "the client holds the upstream")
		}
		_, err := io.Copy(io.Discard, res.Body)
		require.Error(t, err)
	})
}
