package h1_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/ginfer/ginfer/internal/h1"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// errRest is the error of the other RoundTripper, which shows that it was called.
var errRest = errors.New("for the rest")

type rest struct{}

func (rest) RoundTrip(*http.Request) (*http.Response, error) { return nil, errRest }

// server is an upstream that works byte by byte: serve gets each connection with a fresh reader.
type server struct {
	net.Listener

	mu    sync.Mutex
	conns int
}

func serve(tb testing.TB, f func(c net.Conn, in *bufio.Reader)) *server {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	s := &server{Listener: ln}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns++
			s.mu.Unlock()
			wg.Go(func() {
				defer func() { _ = c.Close() }()
				_ = c.SetDeadline(time.Now().Add(10 * time.Second))
				f(c, bufio.NewReader(c))
			})
		}
	})
	tb.Cleanup(func() {
		_ = ln.Close()
		wg.Wait()
	})
	return s
}

func (s *server) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conns
}

// respondWith returns a server that responds to every request of a connection with the same bytes.
func respondWith(tb testing.TB, response string) *server {
	tb.Helper()
	return serve(tb, func(c net.Conn, in *bufio.Reader) {
		for {
			req, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, req.Body)
			if _, err := io.WriteString(c, response); err != nil {
				return
			}
		}
	})
}

// respondOnce returns a server that responds once and closes.
func respondOnce(tb testing.TB, response string) *server {
	tb.Helper()
	return serve(tb, func(c net.Conn, in *bufio.Reader) {
		if req, err := http.ReadRequest(in); err == nil {
			_, _ = io.Copy(io.Discard, req.Body)
			_, _ = io.WriteString(c, response)
		}
	})
}

func newTransport(tb testing.TB, change func(*h1.Config)) *h1.Transport {
	tb.Helper()
	cfg := h1.Config{Dial: new(net.Dialer).DialContext, Rest: rest{}, MaxIdle: 100, IdleTimeout: time.Minute, MaxHeader: 64 << 10}
	if change != nil {
		change(&cfg)
	}
	t := h1.New(cfg)
	tb.Cleanup(t.CloseIdleConnections)
	return t
}

func request(tb testing.TB, method string, s *server) *http.Request {
	tb.Helper()
	return requestWith(tb, tb.Context(), method, s)
}

func requestWith(tb testing.TB, ctx context.Context, method string, s *server) *http.Request { //nolint:revive // tb first, as everywhere
	tb.Helper()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+s.Addr().String()+"/a%2Fb?q=1;2", http.NoBody)
	require.NoError(tb, err)
	return req
}

// do makes a request and reads its response to the end.
func do(tb testing.TB, t http.RoundTripper, req *http.Request) (res *http.Response, body string, err error) {
	tb.Helper()
	res, err = t.RoundTrip(req)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	return res, string(b), err
}
