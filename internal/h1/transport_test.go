package h1_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	bodies "github.com/ginfer/ginfer/internal/body"
	"github.com/ginfer/ginfer/internal/h1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Every response is read as http.Transport reads it.
func TestResponses(t *testing.T) {
	t.Parallel()
	const ok = "HTTP/1.1 200 OK\r\n"
	tests := map[string]struct {
		method, raw string
		reused      bool // the connection
	}{
		"length":              {http.MethodGet, ok + "Content-Length: 3\r\n\r\nabc", true},
		"empty":               {http.MethodGet, ok + "Content-Length: 0\r\n\r\n", true},
		"chunked":             {http.MethodGet, ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", true},
		"empty chunked":       {http.MethodGet, ok + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", true},
		"trailers":            {http.MethodGet, ok + "Transfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n", true},
		"chunked and length":  {http.MethodGet, ok + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", true},
		"until closed":        {http.MethodGet, ok + "\r\nabc", false},
		"connection: close":   {http.MethodGet, ok + "Connection: close\r\nContent-Length: 3\r\n\r\nabc", false},
		"HTTP/1.0":            {http.MethodGet, "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", false},
		"HEAD":                {http.MethodHead, ok + "Content-Length: 42\r\n\r\n", true},
		"HEAD chunked":        {http.MethodHead, ok + "Transfer-Encoding: chunked\r\n\r\n", true},
		"204":                 {http.MethodGet, "HTTP/1.1 204 No Content\r\n\r\n", true},
		"304":                 {http.MethodGet, "HTTP/1.1 304 Not Modified\r\nContent-Length: 42\r\n\r\n", true},
		"599":                 {http.MethodGet, "HTTP/1.1 599 Odd\r\nContent-Length: 3\r\n\r\nabc", true},
		"1xx first":           {http.MethodGet, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + ok + "Content-Length: 3\r\n\r\nabc", true},
		"cut in length":       {http.MethodGet, ok + "Content-Length: 5\r\n\r\nabc", false},
		"cut in chunk":        {http.MethodGet, ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nabc", false},
		"cut between chunks":  {http.MethodGet, ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", false},
		"bad chunk":           {http.MethodGet, ok + "Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n", false},
		"two lengths":         {http.MethodGet, ok + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", false},
		"negative length":     {http.MethodGet, ok + "Content-Length: -1\r\n\r\nabc", false},
		"unknown encoding":    {http.MethodGet, ok + "Transfer-Encoding: gzip\r\n\r\nabc", false},
		"no status":           {http.MethodGet, "HTTP/1.1\r\n\r\n", false},
		"status below 100":    {http.MethodGet, "HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n", false},
		"another protocol":    {http.MethodGet, "SSH-2.0-OpenSSH\r\n", false},
		"HTTP/2":              {http.MethodGet, "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", false},
		"101 unasked":         {http.MethodGet, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", false},
		"header without name": {http.MethodGet, ok + ": x\r\nContent-Length: 0\r\n\r\n", false},
		"space before colon":  {http.MethodGet, ok + "X : x\r\nContent-Length: 0\r\n\r\n", false},
		"nothing":             {http.MethodGet, "", false},
		"cut in head":         {http.MethodGet, ok + "Content-Le", false},
		"endless head":        {http.MethodGet, ok + "X: " + strings.Repeat("x", 70_000) + "\r\n\r\n", false},
		"too many 1xx":        {http.MethodGet, strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 200) + ok + "Content-Length: 0\r\n\r\n", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			theirs := &http.Transport{DisableCompression: true, MaxResponseHeaderBytes: 64 << 10}
			t.Cleanup(theirs.CloseIdleConnections)
			up := respondOnce(t, tt.raw)
			want, wantBody, wantErr := do(t, theirs, request(t, tt.method, up)) //nolint:bodyclose // closed in do
			ours := newTransport(t, nil)
			got, body, err := do(t, ours, request(t, tt.method, up)) //nolint:bodyclose // closed in do
			if name == "101 unasked" || name == "HTTP/2" || name == "status below 100" || name == "too many 1xx" {
				require.ErrorIs(t, err, h1.ErrProtocol) // stricter
				return
			}
			assert.Equal(t, wantErr == nil, err == nil, "%v, theirs %v", err, wantErr)
			assert.Equal(t, wantBody, body)
			if want != nil && assert.NotNil(t, got) {
				assert.Equal(t, want.StatusCode, got.StatusCode)
				assert.Equal(t, want.Header, got.Header)
				assert.Equal(t, want.Trailer, got.Trailer)
				assert.Equal(t, want.ContentLength, got.ContentLength)
			}
			if tt.reused {
				requireReused(t, ours, tt.method, tt.raw, wantBody)
			}
		})
	}
}

// requireReused requires three responses over one connection.
func requireReused(t *testing.T, tr *h1.Transport, method, raw, want string) {
	t.Helper()
	up := respondWith(t, raw)
	for range 3 {
		_, body, err := do(t, tr, request(t, method, up)) //nolint:bodyclose // closed in do
		require.NoError(t, err)
		require.Equal(t, want, body)
	}
	require.Equal(t, 1, up.connections())
	tr.CloseIdleConnections() // the server waits for their end
}

// The bytes of a request.
func TestRequests(t *testing.T) {
	t.Parallel()
	sent := make(chan string, 1)
	up := serve(t, func(c net.Conn, in *bufio.Reader) {
		var got bytes.Buffer
		req, err := http.ReadRequest(bufio.NewReader(io.TeeReader(in, &got)))
		if err == nil {
			_, _ = io.Copy(io.Discard, req.Body)
		}
		sent <- got.String()
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	})
	tests := map[string]struct {
		method string
		header http.Header
		body   []byte
		want   string
	}{
		"GET":                              {"", http.Header{"User-Agent": nil, "X-A": {"1", "2"}}, nil, "GET /a%2Fb?q=1;2 HTTP/1.1\r\nHost: example.com\r\nX-A: 1\r\nX-A: 2\r\n\r\n"},
		"POST empty":                       {http.MethodPost, http.Header{"User-Agent": {"u"}}, nil, "POST /a%2Fb?q=1;2 HTTP/1.1\r\nHost: example.com\r\nUser-Agent: u\r\nContent-Length: 0\r\n\r\n"},
		"PUT":                              {http.MethodPut, http.Header{}, []byte("abc"), "PUT /a%2Fb?q=1;2 HTTP/1.1\r\nHost: example.com\r\nUser-Agent: Go-http-client/1.1\r\nContent-Length: 3\r\n\r\nabc"},
		"long body":                        {http.MethodPut, http.Header{"User-Agent": nil}, bytes.Repeat([]byte("x"), 30_000), "PUT /a%2Fb?q=1;2 HTTP/1.1\r\nHost: example.com\r\nContent-Length: 30000\r\n\r\n" + strings.Repeat("x", 30_000)},
		"own framing headers are not sent": {http.MethodGet, http.Header{"User-Agent": nil, "Content-Length": {"7"}, "Host": {"evil"}, "Trailer": {"X"}}, nil, "GET /a%2Fb?q=1;2 HTTP/1.1\r\nHost: example.com\r\n\r\n"},
	}
	for name, tt := range tests {
		req := request(t, http.MethodGet, up)
		req.Method, req.Header, req.Host = tt.method, tt.header, "example.com"
		bodies.Set(req, tt.body)
		transport := newTransport(t, func(c *h1.Config) { c.MaxIdle = 0 })
		_, _, err := do(t, transport, req) //nolint:bodyclose // closed in do
		require.NoError(t, err, name)
		assert.Equal(t, tt.want, <-sent, name)
	}
}

// Nothing of a request is sent that could be read as another one.
func TestBadRequests(t *testing.T) {
	t.Parallel()
	up := respondWith(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	for name, change := range map[string]func(*http.Request){
		"method":       func(r *http.Request) { r.Method = "GET /x HTTP/1.1\r\nX:" },
		"host":         func(r *http.Request) { r.Host = "a\r\nX: y" },
		"host's space": func(r *http.Request) { r.Host = "a b" },
		"header name":  func(r *http.Request) { r.Header["X\r\nY"] = []string{"1"} },
		"header value": func(r *http.Request) { r.Header["X"] = []string{"1\r\nY: 2"} },
		"NUL":          func(r *http.Request) { r.Header["X"] = []string{"\x00"} },
		"query":        func(r *http.Request) { r.URL.RawQuery = "a HTTP/1.1\r\nX: y" },
	} {
		req := request(t, http.MethodGet, up)
		change(req)
		_, _, err := do(t, newTransport(t, nil), req) //nolint:bodyclose // closed in do
		assert.ErrorContains(t, err, "invalid request", name)
	}
}

// Requests that this package does not handle go to the other RoundTripper.
func TestRest(t *testing.T) {
	t.Parallel()
	up := respondWith(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	for name, change := range map[string]func(*http.Request){
		"TLS":             func(r *http.Request) { r.URL.Scheme = "https" },
		"upgrade":         func(r *http.Request) { r.Header.Set("Connection", "Upgrade") },
		"expect":          func(r *http.Request) { r.Header.Set("Expect", "100-continue") },
		"trailers":        func(r *http.Request) { r.Trailer = http.Header{"X": nil} },
		"streamed body":   func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("x")) },
		"another length":  func(r *http.Request) { bodies.Set(r, []byte("abc")); r.ContentLength = -1 },
		"CONNECT":         func(r *http.Request) { r.Method = http.MethodConnect },
		"close":           func(r *http.Request) { r.Close = true },
		"no host":         func(r *http.Request) { r.URL.Host = "" },
		"host in Unicode": func(r *http.Request) { r.URL.Host = "bücher.example" },
	} {
		req := request(t, http.MethodGet, up)
		change(req)
		_, _, err := do(t, newTransport(t, nil), req) //nolint:bodyclose // closed in do
		assert.Equal(t, errRest, err, name)
	}
}

// Unsolicited bytes never become the next response.
func TestUnsolicitedBytes(t *testing.T) {
	t.Parallel()
	const evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
	for name, late := range map[string]bool{"with the response": false, "later": true} {
		sent := make(chan struct{}, 10)
		up := serve(t, func(c net.Conn, in *bufio.Reader) {
			for {
				if _, err := http.ReadRequest(in); err != nil {
					return
				}
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood")
				if late {
					time.AfterFunc(5*time.Millisecond, func() { _, _ = io.WriteString(c, evil); sent <- struct{}{} })
				} else {
					_, _ = io.WriteString(c, evil)
					sent <- struct{}{}
				}
			}
		})
		tr := newTransport(t, nil)
		for range 5 {
			_, body, err := do(t, tr, request(t, http.MethodGet, up)) //nolint:bodyclose // closed in do
			require.NoError(t, err, name)
			require.Equal(t, "good", body, name)
			<-sent
		}
	}
}

// A server that closes idle connections costs no request: they are examined before use, and a
// request is repeated if possible.
func TestStaleConnections(t *testing.T) {
	t.Parallel()
	up := respondOnce(t, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	tr := newTransport(t, nil)
	for i := range 50 {
		method := http.MethodGet
		if i%2 == 1 {
			method = http.MethodPut
		}
		_, body, err := do(t, tr, request(t, method, up)) //nolint:bodyclose // closed in do
		require.NoError(t, err)
		require.Equal(t, "ok", body)
	}
}

// If a connection ends just as it is used, the request is sent once more, whatever its method,
// on a new connection.
func TestClosedWhileUsed(t *testing.T) {
	t.Parallel()
	up := serve(t, func(c net.Conn, in *bufio.Reader) {
		if _, err := http.ReadRequest(in); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			_, _ = http.ReadRequest(in) // and closes without a word
		}
	})
	for _, method := range []string{http.MethodGet, http.MethodDelete, http.MethodPost} {
		tr := newTransport(t, nil)
		_, _, err := do(t, tr, request(t, method, up)) //nolint:bodyclose // closed in do
		require.NoError(t, err)
		_, _, err = do(t, tr, request(t, method, up)) //nolint:bodyclose // closed in do
		assert.NoError(t, err, method)
	}
}

// A request is not repeated if a new connection ends, or if a connection ends after a byte of the
// response.
func TestBrokenWhileUsed(t *testing.T) {
	t.Parallel()
	for name, second := range map[string]string{"on a new connection too": "", "after a byte": "H"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var broken atomic.Bool
			var requests atomic.Int32
			up := serve(t, func(c net.Conn, in *bufio.Reader) {
				for said := "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"; said != second; {
					if _, err := http.ReadRequest(in); err != nil {
						return
					}
					requests.Add(1)
					if broken.Load() {
						said = second
					}
					_, _ = io.WriteString(c, said)
				}
			})
			tr := newTransport(t, nil)
			_, _, err := do(t, tr, request(t, http.MethodPost, up)) //nolint:bodyclose // closed in do
			require.NoError(t, err)
			broken.Store(true)
			_, _, err = do(t, tr, request(t, http.MethodPost, up)) //nolint:bodyclose // closed in do
			require.Error(t, err)
			assert.Equal(t, map[string]int32{"": 3, "H": 2}[second], requests.Load())
		})
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	cause := errors.New("the cause")
	for name, response := range map[string]string{"before the head": "", "in the head": "HTTP/1.1 200 OK\r\nX", "in the body": "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ended := make(chan error, 1)
			ctx, cancel := context.WithCancelCause(t.Context())
			up := serve(t, func(c net.Conn, in *bufio.Reader) {
				_, _ = http.ReadRequest(in)
				_, _ = io.WriteString(c, response)
				time.AfterFunc(10*time.Millisecond, func() { cancel(cause) })
				_, err := in.ReadByte()
				ended <- err
			})
			_, _, err := do(t, newTransport(t, nil), requestWith(t, ctx, http.MethodGet, up)) //nolint:bodyclose // closed in do
			require.ErrorIs(t, err, cause)
			assert.Error(t, <-ended, "the connection is closed")
		})
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	_, _, err := do(t, newTransport(t, nil), requestWith(t, ctx, http.MethodGet, respondWith(t, ""))) //nolint:bodyclose // closed in do
	require.ErrorIs(t, err, cause)
}

// A cancellation after the end does not affect the connection's next request.
func TestCancelAfterTheEnd(t *testing.T) {
	t.Parallel()
	up := respondWith(t, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	tr := newTransport(t, nil)
	for range 100 {
		ctx, cancel := context.WithCancel(t.Context())
		_, _, err := do(t, tr, requestWith(t, ctx, http.MethodGet, up)) //nolint:bodyclose // closed in do
		require.NoError(t, err)
		cancel()
	}
	assert.Equal(t, 1, up.connections())
}

func TestEarlyClose(t *testing.T) {
	t.Parallel()
	up := respondWith(t, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789")
	tr := newTransport(t, nil)
	for range 2 {
		res, err := tr.RoundTrip(request(t, http.MethodGet, up))
		require.NoError(t, err)
		_, err = io.ReadFull(res.Body, make([]byte, 3))
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.NoError(t, res.Body.Close())
	}
	assert.Equal(t, 2, up.connections(), "the rest of the body is no response")
}

func TestInformational(t *testing.T) {
	t.Parallel()
	up := respondWith(t, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	var seen []string
	stop := errors.New("no more")
	for _, result := range []error{nil, stop} {
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			seen = append(seen, fmt.Sprint(code, h.Get("Link")))
			return result
		}})
		_, _, err := do(t, newTransport(t, nil), requestWith(t, ctx, http.MethodGet, up)) //nolint:bodyclose // closed in do
		require.ErrorIs(t, err, result)
	}
	assert.Equal(t, []string{"103x", "103x"}, seen)
}

func TestIdleConnections(t *testing.T) {
	t.Parallel()
	up := respondWith(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	tr := newTransport(t, func(c *h1.Config) { c.IdleTimeout = 20 * time.Millisecond })
	for i := range 3 {
		_, _, err := do(t, tr, request(t, http.MethodGet, up)) //nolint:bodyclose // closed in do
		require.NoError(t, err)
		require.Eventually(t, func() bool { return tr.Idle() == 0 }, 5*time.Second, 5*time.Millisecond)
		assert.Equal(t, i+1, up.connections())
	}
	few := newTransport(t, func(c *h1.Config) { c.MaxIdle = 2 })
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			_, _, err := do(t, few, request(t, http.MethodGet, up)) //nolint:bodyclose // closed in do
			assert.NoError(t, err)
		})
	}
	wg.Wait()
	assert.LessOrEqual(t, few.Idle(), 2)
	few.CloseIdleConnections()
	assert.Zero(t, few.Idle())
}

// A server that responds before it has read the body, and closes.
func TestEarlyResponse(t *testing.T) {
	t.Parallel()
	up := serve(t, func(c net.Conn, _ *bufio.Reader) {
		_, _ = io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
		_, _ = io.Copy(io.Discard, c)
	})
	req := request(t, http.MethodPost, up)
	bodies.Set(req, make([]byte, 32<<10))
	res, body, err := do(t, newTransport(t, nil), req) //nolint:bodyclose // closed in do
	require.NoError(t, err)
	assert.Equal(t, http.StatusRequestEntityTooLarge, res.StatusCode)
	assert.Equal(t, "big", body)
}

func TestConcurrent(t *testing.T) {
	t.Parallel()
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // a response that begins earlier closes the body (golang/go#40747)
		_, _ = w.Write(body)
	}))
	defer up.Close()
	tr := newTransport(t, nil)
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			for j := range 50 {
				want := strings.Repeat(fmt.Sprint(i, " ", j, ";"), 1+j*20)
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, up.URL, http.NoBody)
				if err != nil {
					t.Error(err)
					return
				}
				bodies.Set(req, []byte(want))
				_, got, err := do(t, tr, req) //nolint:bodyclose // closed in do
				if err != nil || got != want {
					t.Errorf("%v: %d bytes of %d", err, len(got), len(want))
				}
			}
		})
	}
	wg.Wait()
}

// FuzzResponse: whatever an upstream sends, the result is http.Transport's.
func FuzzResponse(f *testing.F) {
	for _, s := range []string{"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "HTTP/1.1 103 E\r\n\r\nHTTP/1.0 404 N\r\n\r\nx"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		pipe := func(context.Context, string, string) (net.Conn, error) { //nolint:unparam // as Dial is
			client, upstream := net.Pipe()
			go func() {
				defer func() { _ = upstream.Close() }()
				_ = upstream.SetDeadline(time.Now().Add(time.Second))
				_, _ = http.ReadRequest(bufio.NewReader(upstream))
				_, _ = io.WriteString(upstream, raw)
			}()
			return client, nil
		}
		theirs := &http.Transport{DialContext: pipe, DisableCompression: true, DisableKeepAlives: true}
		ours := newTransport(t, func(c *h1.Config) { c.Dial, c.MaxIdle = pipe, 0 })
		var bodies [2]string
		var errs [2]error
		for i, tr := range []http.RoundTripper{theirs, ours} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://a/", http.NoBody)
			require.NoError(t, err)
			_, bodies[i], errs[i] = do(t, tr, req) //nolint:bodyclose // closed in do
		}
		if errors.Is(errs[1], h1.ErrProtocol) {
			return // stricter
		}
		assert.Equal(t, errs[0] == nil, errs[1] == nil, "%v / %v", errs[0], errs[1])
		if errs[0] == nil {
			assert.Equal(t, bodies[0], bodies[1])
		}
	})
}
