package proxy_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/proxy"
	"github.com/stretchr/testify/require"
)

// TestClientLeaves: the upstream stops working at once, and is not blamed.
func TestClientLeaves(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		h2c    bool
		begin  bool // the response has begun
		body   string
		config proxy.Config
	}{
		"in a stream":               {begin: true},
		"in a stream, h2c":          {begin: true, h2c: true},
		"in a stream, POST":         {begin: true, body: "{}"},
		"in a stream, big POST":     {begin: true, body: pattern(1 << 20)},
		"in a stream, duplex":       {begin: true, body: "{}", config: proxy.Config{MaxBody: -1}},
		"before the response":       {},
		"before the response, POST": {body: "{}"},
		"before the response, h2c":  {h2c: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for protocol, h2 := range protocols() {
				t.Run(protocol, func(t *testing.T) {
					t.Parallel()
					began, gone := make(chan struct{}), make(chan struct{})
					r := setup{h2: h2, h2c: c.h2c, config: c.config, upstream: func(w http.ResponseWriter, req *http.Request) {
						_, _ = io.Copy(io.Discard, req.Body)
						if c.begin {
							w.Header().Set("Content-Type", "text/event-stream")
							_, _ = io.WriteString(w, "data: 1\n\n")
							_ = http.NewResponseController(w).Flush()
						}
						close(began)
						<-req.Context().Done()
						close(gone)
					}}.start(t)
					leave(t, r, c.begin, c.body, began)
					receive(t, gone)
					requireNeutral(t, r.events)
				})
			}
		})
	}
}

// leave makes a request and disconnects.
func leave(t *testing.T, r *rig, begin bool, body string, began <-chan struct{}) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	method := http.MethodGet
	if body != "" {
		method = http.MethodPost
	}
	req := r.request(t, method, "/", strings.NewReader(body)).WithContext(ctx)
	if !begin {
		go func() {
			<-began
			cancel()
		}()
	}
	res, err := r.client.Do(req)
	if !begin {
		require.ErrorIs(t, err, context.Canceled)
		return
	}
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	expect(t, res.Body, "data: 1\n\n")
	cancel()
}

func requireNeutral(t *testing.T, e *events) {
	t.Helper()
	got := e.next(t)
	require.Equal(t, proxy.Canceled, got.Outcome)
	require.ErrorIs(t, got.Err, proxy.ErrClientClosed)
	attempts := e.attempts()
	require.Len(t, attempts, 1)
	require.Equal(t, proxy.Canceled, attempts[0].Outcome)
}

// TestClientLeavesWithoutFault: layers below the proxy see a canceled attempt, and no verdict
// against the upstream.
func TestClientLeavesWithoutFault(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, leave := context.WithCancel(t.Context())
		var verdict exchange.Verdict
		ev := newEvents()
		p := newProxy(t, proxy.Config{OnEvent: ev.on, Transport: transport(func(req *http.Request) (*http.Response, error) {
			res, err := dripping(time.Second, 100)(req)
			res.Body = onClose{res.Body, func() {
				verdict = exchange.Current(req.Context()).Verdict()
			}}
			return res, err
		})})
		time.AfterFunc(3*time.Second+time.Second/2, leave)
		w := serve(p, request(t, http.MethodGet, nil).WithContext(ctx))
		require.Equal(t, "xxx", w.Body.String(), "nothing is added")
		require.Equal(t, exchange.Canceled, verdict.Outcome)
		require.Equal(t, exchange.Client, verdict.Blame)
		requireNeutral(t, ev)
	})
}

// TestVerdict: layers below are notified of a broken body before it is closed.
func TestVerdict(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		body io.Reader
		err  error
	}{
		"whole":  {strings.NewReader("x"), nil},
		"broken": {io.MultiReader(strings.NewReader("x"), broken{}), io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			verdict := errors.New("never closed")
			serve(newProxy(t, proxy.Config{Transport: transport(func(req *http.Request) (*http.Response, error) {
				res := newResponse(200, "")
				res.ContentLength = -1
				res.Body = onClose{io.NopCloser(c.body), func() { verdict = exchange.Current(req.Context()).Verdict().Err }}
				return res, nil
			})}), request(t, http.MethodGet, nil))
			require.ErrorIs(t, verdict, c.err)
		})
	}
}

// TestClientStopsReading: a connection that breaks during the response is the client's fault, too.
func TestClientStopsReading(t *testing.T) {
	t.Parallel()
	gone := make(chan error, 1)
	r := setup{upstream: func(w http.ResponseWriter, req *http.Request) {
		piece := []byte(pattern(64 << 10))
		var err error
		for err == nil {
			_, err = w.Write(piece)
		}
		gone <- req.Context().Err()
	}}.start(t)
	conn, in := r.dial(t)
	_, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	require.NoError(t, err)
	_, err = in.ReadString('\n')
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	require.ErrorIs(t, receive(t, gone), context.Canceled)
	requireNeutral(t, r.events)
}
