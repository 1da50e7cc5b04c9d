package proxy_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ginfer/ginfer/breaker"
	"github.com/ginfer/ginfer/proxy"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type nthKey struct{}

// forgetful configures a server that closes connections which clients still use.
type forgetful struct {
	secure, two bool
	idle        time.Duration // closes idle connections
	drops       bool          // closes instead of every second response of a connection
	resets      bool          // by a RST
	says        bool          // announces the end of every third connection
}

// start starts the server, and returns the number of responses that it did not give.
func (f forgetful) start(tb testing.TB) (*httptest.Server, *atomic.Int64) {
	tb.Helper()
	var dropped, all atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if n, _ := r.Context().Value(nthKey{}).(*atomic.Int64); f.drops && n.Add(1)%2 == 0 {
			dropped.Add(1)
			f.drop(w)
			return
		}
		if f.says && all.Add(1)%3 == 0 {
			w.Header().Set("Connection", "close") // HTTP/2: GOAWAY
		}
		_, _ = io.WriteString(w, "ok")
	}))
	s.Config.IdleTimeout = f.idle
	s.Config.ErrorLog = quiet()
	s.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
		return context.WithValue(ctx, nthKey{}, new(atomic.Int64))
	}
	s.EnableHTTP2 = f.two
	if f.secure {
		s.StartTLS()
	} else {
		s.Start()
	}
	tb.Cleanup(s.Close)
	return s, &dropped
}

func (f forgetful) drop(w http.ResponseWriter) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	raw := c
	if secure, ok := c.(interface{ NetConn() net.Conn }); ok && f.resets {
		raw = secure.NetConn()
	}
	if tcp, ok := raw.(*net.TCPConn); ok && f.resets {
		_ = tcp.SetLinger(0)
	}
	_ = raw.Close()
}

// Servers close idle connections, some just as one is reused: no request fails for that, the proxy
// retries none, and no circuit counts it.
func TestReusedConnections(t *testing.T) {
	t.Parallel()
	const idle = 50 * time.Millisecond
	short, long := `{"model":"m"}`, strings.Repeat("a", 100<<10)
	for name, tt := range map[string]struct {
		forgetful
		protocol, body string
		posts          int
	}{
		"idle for 50 ms":                    {forgetful{idle: idle}, "", short, 2000},
		"idle for 50 ms, long":              {forgetful{idle: idle}, "", long, 400},
		"idle for 50 ms, TLS":               {forgetful{idle: idle, secure: true}, "http1", short, 400},
		"idle for 50 ms, HTTP/2":            {forgetful{idle: idle, secure: true, two: true}, "http2", short, 400},
		"drops every second request":        {forgetful{drops: true}, "", short, 2000},
		"drops every second request, long":  {forgetful{drops: true}, "", long, 400},
		"drops every second request, TLS":   {forgetful{drops: true, secure: true}, "http1", short, 2000},
		"resets every second request":       {forgetful{drops: true, resets: true}, "", short, 400},
		"resets every second request, long": {forgetful{drops: true, resets: true}, "", long, 400},
		"resets every second request, TLS":  {forgetful{drops: true, resets: true, secure: true}, "http1", short, 400},
		"drops some and announces some":     {forgetful{drops: true, says: true}, "", short, 400},
		"sends GOAWAY":                      {forgetful{secure: true, two: true, says: true}, "http2", short, 2000},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			up, dropped := tt.start(t)
			circuits, err := breaker.New(breaker.Config{})
			require.NoError(t, err)
			t.Cleanup(circuits.Close)
			var repeated atomic.Int64
			r := setup{config: proxy.Config{
				Target: parse(t, up.URL), Transport: circuits.Transport(trusting(t, up, proxy.TransportConfig{Protocol: tt.protocol})),
				OnEvent: func(_ context.Context, e proxy.Event) {
					if e.Outcome != proxy.Success || e.Attempt != 1 {
						repeated.Add(1)
					}
				},
			}}.start(t)
			failed := postOften(r, tt.body, tt.posts, tt.idle)
			assert.Zero(t, failed)
			assert.Zero(t, repeated.Load())
			assert.Equal(t, tt.drops, dropped.Load() > 40)
			assert.Equal(t, breaker.Closed, circuits.Status()[0].State)
		})
	}
}

// postOften makes 40 clients send that many requests together, and returns how many failed.
// They pause between them for about as long as the server keeps a connection.
func postOften(r *rig, body string, posts int, pause time.Duration) int64 {
	const clients = 40
	var failed atomic.Int64
	var all sync.WaitGroup
	for n := range clients {
		all.Go(func() {
			for i := range posts / clients {
				if pause > 0 {
					<-time.After(pause + time.Duration((n+i)%5-2)*time.Millisecond/2)
				}
				if !isPosted(r, body) {
					failed.Add(1)
				}
			}
		})
	}
	all.Wait()
	return failed.Load()
}

func isPosted(r *rig, body string) bool {
	res, err := r.client.Post(r.URL+"/v1/x", "application/json", strings.NewReader(body))
	if err != nil {
		return false
	}
	defer func() { _ = res.Body.Close() }()
	_, err = io.Copy(io.Discard, res.Body)
	return err == nil && res.StatusCode == http.StatusOK
}

// A body that is not in memory can't be sent again. That does not count against the upstream.
func TestReusedConnectionOfUpload(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		secure   bool
		protocol string
	}{"plain": {}, "TLS": {true, "http1"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			up, _ := forgetful{secure: tt.secure, drops: true}.start(t)
			circuits, err := breaker.New(breaker.Config{Settings: breaker.Settings{Consecutive: 1}})
			require.NoError(t, err)
			t.Cleanup(circuits.Close)
			r := setup{config: proxy.Config{Target: parse(t, up.URL), Transport: circuits.Transport(trusting(t, up, proxy.TransportConfig{Protocol: tt.protocol})), MaxBody: 8}}.start(t)
			long := strings.Repeat("a", 64<<10)
			assert.True(t, isPosted(r, long))
			assert.False(t, isPosted(r, long))
			assert.True(t, isPosted(r, long))
			assert.Equal(t, breaker.Closed, circuits.Status()[0].State)
		})
	}
}

// A request is not sent again after a byte of its response, nor after its failure on a new
// connection.
func TestBegunResponsesAreNotRepeated(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		half string
		want int64
	}{
		"no byte":           {"", 3}, // once more, which fails too
		"part of a status":  {"HTTP/1.", 2},
		"part of a header":  {"HTTP/1.1 200 OK\r\nContent-Le", 2},
		"part of a body":    {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", 2},
		"informational one": {"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", 2},
	} {
		for size, body := range map[string]string{"short": "{}", "long": strings.Repeat("a", 100<<10)} {
			t.Run(name+", "+size, func(t *testing.T) {
				t.Parallel()
				var requests atomic.Int64
				up := rawServer(t, func(conn net.Conn, req *http.Request) { halve(conn, req, &requests, tt.half) })
				tr := newTransport(t, false)
				require.NoError(t, postTo(t, tr, up.String(), body))
				require.Error(t, postTo(t, tr, up.String(), body))
				assert.Equal(t, tt.want, requests.Load())
			})
		}
	}
}

// halve responds to the first of all requests, and to others in part before it closes.
func halve(conn net.Conn, req *http.Request, requests *atomic.Int64, half string) {
	in := bufio.NewReader(conn)
	for ; req != nil; req, _ = http.ReadRequest(in) {
		_, _ = io.Copy(io.Discard, req.Body)
		if requests.Add(1) > 1 {
			_, _ = io.WriteString(conn, half)
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	}
}

func postTo(tb testing.TB, rt http.RoundTripper, url, body string) error {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodPost, url, strings.NewReader(body))
	require.NoError(tb, err)
	res, err := rt.RoundTrip(req)
	if err != nil {
		return err
	}
	_, err = io.ReadAll(res.Body)
	return errors.Join(err, res.Body.Close())
}
