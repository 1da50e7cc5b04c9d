package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/proxy"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestLongUploadStreams: a body over MaxBody reaches the upstream while the client is still
// sending it, complete and once.
func TestLongUploadStreams(t *testing.T) {
	t.Parallel()
	for protocol, h2 := range protocols() {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			for name, known := range map[string]bool{"known length": true, "unknown length": false} {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					began := make(chan struct{})
					var attempts atomic.Int32
					r := setup{h2: h2, config: proxy.Config{MaxBody: 1000, Retry: proxy.Retry{Repeat: proxy.Always}}, upstream: func(w http.ResponseWriter, req *http.Request) {
						attempts.Add(1)
						_, err := io.ReadFull(req.Body, make([]byte, 5000))
						assert.NoError(t, err)
						close(began)
						rest, err := io.ReadAll(req.Body)
						assert.NoError(t, err)
						assert.Len(t, rest, 5000)
						assert.Equal(t, known, req.ContentLength == 10_000)
						w.WriteHeader(http.StatusServiceUnavailable)
					}}.start(t)
					body := pattern(10_000)
					second := waiting{began, strings.NewReader(body[5000:])}
					req := r.request(t, http.MethodPost, "/", io.MultiReader(strings.NewReader(body[:5000]), second))
					if known {
						req.ContentLength = int64(len(body))
					}
					require.Equal(t, 503, r.do(t, req).status)
					require.EqualValues(t, 1, attempts.Load())
				})
			}
		})
	}
}

// waiting is a reader that begins when ch is closed.
type waiting struct {
	ch <-chan struct{}
	io.Reader
}

func (w waiting) Read(p []byte) (int, error) {
	<-w.ch
	return w.Reader.Read(p)
}

// TestDuplex: with a negative MaxBody both sides take turns.
func TestDuplex(t *testing.T) {
	t.Parallel()
	for protocol, h2 := range protocols() {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			for _, h2c := range []bool{false, true} {
				t.Run(fmt.Sprintf("h2c %v", h2c), func(t *testing.T) {
					t.Parallel()
					r := setup{h2: h2, h2c: h2c, config: proxy.Config{MaxBody: -1}, upstream: func(w http.ResponseWriter, req *http.Request) {
						rc := http.NewResponseController(w)
						_ = rc.EnableFullDuplex()
						_ = rc.Flush()
						lines := bufio.NewScanner(req.Body)
						for lines.Scan() {
							_, _ = io.WriteString(w, "you said "+lines.Text()+"\n")
							_ = rc.Flush()
						}
					}}.start(t)
					talk(t, r)
				})
			}
		})
	}
}

func talk(t *testing.T, r *rig) {
	t.Helper()
	in, out := io.Pipe()
	res, err := r.client.Do(r.request(t, http.MethodPost, "/", in))
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	stream := bufio.NewReader(res.Body)
	for i := range 5 {
		_, err = fmt.Fprintf(out, "%d\n", i)
		require.NoError(t, err)
		line, err := stream.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("you said %d\n", i), line)
	}
	require.NoError(t, out.Close())
	rest, err := io.ReadAll(stream)
	require.NoError(t, err)
	require.Empty(t, rest)
}

// smuggled must never be served: it follows a body that broke.
const smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"

// brokenBodies are requests with a body unreadable to its end, each followed by bytes that
// look like another request.
func brokenBodies() map[string]string {
	const chunked = "POST /first HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
	return map[string]string{
		"bad chunk size":       chunked + "5\r\nhello\r\nZZ\r\n" + smuggled,
		"no line end":          chunked + "5\r\nhelloX" + smuggled,
		"chunk too short":      chunked + "5\r\nhel\r\n" + smuggled,
		"huge chunk size":      chunked + "5\r\nhello\r\nfffffffffffffffff\r\n" + smuggled,
		"empty chunk size":     chunked + "5\r\nhello\r\n\r\n" + smuggled,
		"first chunk bad":      chunked + "-1\r\n" + smuggled,
		"bad trailer":          chunked + "5\r\nhello\r\n0\r\nbad trailer\r\n\r\n" + smuggled,
		"chunk extension only": chunked + "5\r\nhello\r\n;x\r\n" + smuggled,
	}
}

// TestNothingIsSmuggled: whether the body is held or streamed, whether the upstream waits for
// it, responds early, is missing or refuses, the bytes after a broken body are never served,
// and the connection is closed.
func TestNothingIsSmuggled(t *testing.T) {
	t.Parallel()
	upstreams := map[string]setup{
		"upstream waits": {upstream: func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(w, r.URL.Path)
		}},
		"upstream responds early":        {upstream: func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.URL.Path) }},
		"no upstream":                    {config: proxy.Config{Target: nowhere(t), Retry: proxy.Retry{Attempts: 1}}},
		"a transport that does not read": {upstream: http.NotFound, config: proxy.Config{Transport: status(503)}},
		"a handler that panics":          {upstream: http.NotFound, config: proxy.Config{Rewrite: func(*gin.Context, *http.Request) { panic("oops") }}},
	}
	for name, up := range upstreams {
		for limit, maxBody := range map[string]int64{"held": 0, "streamed": -1, "over the limit": 2} {
			for what, raw := range brokenBodies() {
				t.Run(name+"/"+limit+"/"+what, func(t *testing.T) {
					t.Parallel()
					s := up
					s.config.MaxBody = maxBody
					notServed(t, s, raw)
				})
			}
		}
	}
}

// nowhere returns an address at which nothing listens.
func nowhere(t *testing.T) *url.URL {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, ln.Close())
	return parse(t, "http://"+ln.Addr().String())
}

// notServed sends raw and requires that at most one request reached the upstream and the
// gateway, and that the connection ended.
func notServed(t *testing.T, s setup, raw string) {
	t.Helper()
	var mu sync.Mutex
	var served []string
	s.around = func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			served = append(served, r.URL.Path)
			mu.Unlock()
			next.ServeHTTP(w, r)
		})
	}
	r := s.start(t)
	conn, in := r.dial(t)
	_, err := io.WriteString(conn, raw)
	require.NoError(t, err)
	_, err = io.ReadAll(in) // an RST is as good an end as any
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, []string{"/first"}, served)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "the connection was left open")
}

// TestBrokenBody: the client gets an error, and no upstream is blamed.
func TestBrokenBody(t *testing.T) {
	t.Parallel()
	for limit, maxBody := range map[string]int64{"held": 0, "streamed": -1} {
		t.Run(limit, func(t *testing.T) {
			t.Parallel()
			r := setup{config: proxy.Config{MaxBody: maxBody}, upstream: func(_ http.ResponseWriter, r *http.Request) {
				_, err := io.Copy(io.Discard, r.Body)
				assert.Error(t, err, "a broken body must not look whole")
			}}.start(t)
			conn, in := r.dial(t)
			_, err := io.WriteString(conn, brokenBodies()["bad chunk size"])
			require.NoError(t, err)
			res, err := http.ReadResponse(in, nil)
			require.NoError(t, err)
			require.NoError(t, res.Body.Close())
			require.Equal(t, 400, res.StatusCode)
			require.True(t, res.Close)
			got := r.events.next(t)
			require.Equal(t, proxy.Refused, got.Outcome)
			require.ErrorIs(t, got.Err, proxy.ErrBody)
		})
	}
}

// TestHeldUploadKeepsTheConnection: the usual request keeps its connection, even when it fails.
func TestHeldUploadKeepsTheConnection(t *testing.T) {
	t.Parallel()
	for name, maxBody := range map[string]int64{"held": 0, "streamed": -1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := setup{config: proxy.Config{MaxBody: maxBody}, upstream: func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				w.WriteHeader(http.StatusTeapot)
			}}.start(t)
			conn, in := r.dial(t)
			for range 3 {
				_, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
				require.NoError(t, err)
				res, err := http.ReadResponse(in, nil)
				require.NoError(t, err)
				require.NoError(t, res.Body.Close())
				require.Equal(t, 418, res.StatusCode)
				require.False(t, res.Close)
			}
		})
	}
}

// TestEarlyResponse: an upstream may respond before it has the body. On HTTP/1.1 the connection
// is then closed.
func TestEarlyResponse(t *testing.T) {
	t.Parallel()
	for protocol, h2 := range protocols() {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			r := setup{h2: h2, config: proxy.Config{MaxBody: -1}, raw: writes("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")}.start(t)
			in, out := io.Pipe()
			t.Cleanup(func() { _ = out.Close() })
			go func() { _, _ = io.WriteString(out, "some") }()
			a := r.do(t, r.request(t, http.MethodPost, "/", in))
			require.Equal(t, 413, a.status)
			require.Equal(t, "no", a.body)
			require.NoError(t, a.err)
		})
	}
}

// TestStreamedUploadIsCutByTheUpstream: a 502, and no panic of a body that is read after the
// handler has returned (golang/go#68560).
func TestStreamedUploadIsCutByTheUpstream(t *testing.T) {
	t.Parallel()
	r := setup{config: proxy.Config{MaxBody: -1}, raw: func(_ net.Conn, req *http.Request) { _, _ = io.CopyN(io.Discard, req.Body, 10) }}.start(t)
	for range 20 {
		res, err := r.client.Do(r.request(t, http.MethodPost, "/", strings.NewReader(pattern(1<<20))))
		if err != nil {
			continue // the connection went while the client was writing
		}
		require.NoError(t, res.Body.Close())
		require.Equal(t, 502, res.StatusCode)
	}
}

// TestExpectContinue: the client waits for the gateway, not for the upstream.
func TestExpectContinue(t *testing.T) {
	t.Parallel()
	for limit, maxBody := range map[string]int64{"held": 0, "streamed": -1} {
		t.Run(limit, func(t *testing.T) {
			t.Parallel()
			r := setup{config: proxy.Config{MaxBody: maxBody}, upstream: func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }}.start(t)
			conn, in := r.dial(t)
			_, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
			require.NoError(t, err)
			line, err := in.ReadString('\n')
			require.NoError(t, err)
			require.Equal(t, "HTTP/1.1 100 Continue\r\n", line)
			_, err = in.ReadString('\n')
			require.NoError(t, err)
			_, err = io.WriteString(conn, "hello")
			require.NoError(t, err)
			require.Equal(t, "hello", readResponse(t, in))
		})
	}
}

// TestSlowClient in the bubble's time: a body sent byte by byte is dropped after a grace of ten
// seconds, a slow but steady one is not, and a duplex one may pause for the idle limit.
func TestSlowClient(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		maxBody int64
		length  int
		piece   int
		pause   time.Duration
		status  int
		after   time.Duration
	}{
		"held, dripping":        {0, 1000, 1, time.Second, 408, 10 * time.Second},
		"held, stalled":         {0, 1000, 1, time.Hour, 408, 10 * time.Second},
		"held, steady":          {0, 20_000, 1000, time.Second, 200, 20 * time.Second},
		"long, dripping":        {10, 1000, 1, time.Second / 2, 408, 10 * time.Second},
		"long, steady":          {10, 20_000, 1000, time.Second, 200, 20 * time.Second},
		"duplex, dripping":      {-1, 100, 1, time.Second, 200, 100 * time.Second},
		"duplex, long pauses":   {-1, 3, 1, 59 * time.Second, 200, 3 * 59 * time.Second},
		"duplex, longer pauses": {-1, 3, 1, 61 * time.Second, 408, 60 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newProxy(t, proxy.Config{MaxBody: c.maxBody, Timeouts: proxy.Timeouts{Idle: time.Minute}, Transport: transport(func(req *http.Request) (*http.Response, error) {
					_, err := io.Copy(io.Discard, req.Body)
					return newResponse(200, ""), err
				})})
				conn := pipeServer(t, engine(p))
				start := time.Now()
				var wg sync.WaitGroup
				wg.Go(func() { dripInto(conn, c.length, c.piece, c.pause) })
				defer wg.Wait()
				defer func() { _ = conn.Close() }()
				res, err := http.ReadResponse(bufio.NewReader(conn), nil)
				require.NoError(t, err)
				require.NoError(t, res.Body.Close())
				require.Equal(t, c.status, res.StatusCode)
				require.Equal(t, c.after, time.Since(start).Truncate(time.Second))
			})
		})
	}
}

// dripInto writes a request with a body in pieces.
func dripInto(conn net.Conn, length, piece int, pause time.Duration) {
	_, err := fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", length)
	for n := 0; n < length && err == nil; n += piece {
		<-time.After(pause)
		_, err = io.WriteString(conn, strings.Repeat("x", piece))
	}
}

// pipeServer serves one connection in the bubble's time.
func pipeServer(t *testing.T, h http.Handler) net.Conn {
	t.Helper()
	client, server := net.Pipe()
	ln := &pipeListener{conns: make(chan net.Conn, 1), done: make(chan struct{})}
	ln.conns <- server
	s := &http.Server{Handler: h, ReadHeaderTimeout: time.Hour}
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Serve(ln) })
	t.Cleanup(func() {
		_ = client.Close()
		_ = s.Close()
		wg.Wait()
	})
	return client
}

type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }
