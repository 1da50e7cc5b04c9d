package proxy_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/proxy"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	askUpgrade = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Key: x\r\n\r\n"
	switched   = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: y\r\n\r\n"
)

// echo switches protocols, greets in the same packet, and echoes everything until the client
// has ended; then it says goodbye.
func echo(conn net.Conn, req *http.Request) {
	if req.Header.Get("Connection") != "Upgrade" || req.Header.Get("Upgrade") != "websocket" || req.Header.Get("Sec-WebSocket-Key") != "x" {
		_, _ = io.WriteString(conn, "HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n")
		return
	}
	_, _ = io.WriteString(conn, switched+"hello,")
	_, _ = io.Copy(conn, conn)
	_, _ = io.WriteString(conn, "bye")
}

// open sends text and returns the connection after the response's head.
func open(t *testing.T, r *rig, text string) (*net.TCPConn, *bufio.Reader, response) {
	t.Helper()
	conn, in := r.dial(t)
	_, err := io.WriteString(conn, text)
	require.NoError(t, err)
	res, err := http.ReadResponse(in, nil)
	require.NoError(t, err)
	a := response{status: res.StatusCode, header: res.Header}
	if a.status != http.StatusSwitchingProtocols { // then there is no body
		require.NoError(t, res.Body.Close())
	}
	return conn.(*net.TCPConn), in, a
}

// expect reads exactly the text.
func expect(t *testing.T, in io.Reader, text string) {
	t.Helper()
	buf := make([]byte, len(text))
	_, err := io.ReadFull(in, buf)
	require.NoError(t, err)
	require.Equal(t, text, string(buf))
}

// TestUpgrade: both directions, bytes sent before the response, each side's end passed on, and the
// gateway's events.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	statuses := make(chan int, 1)
	r := setup{raw: echo, before: []gin.HandlerFunc{func(c *gin.Context) {
		c.Header("X-Set-Before", "1")
		c.Next()
		statuses <- c.Writer.Status()
	}}}.start(t)
	conn, in, res := open(t, r, askUpgrade+"early,")
	require.Equal(t, 101, res.status)
	require.Equal(t, "Upgrade", res.header.Get("Connection"))
	require.Equal(t, "websocket", res.header.Get("Upgrade"))
	require.Equal(t, "y", res.header.Get("Sec-WebSocket-Accept"))
	require.Equal(t, "1", res.header.Get("X-Set-Before"))
	expect(t, in, "hello,")
	for i := range 5 {
		_, err := fmt.Fprintf(conn, "line %d\n", i)
		require.NoError(t, err)
		if i == 0 {
			expect(t, in, "early,")
		}
		expect(t, in, fmt.Sprintf("line %d\n", i))
	}
	require.NoError(t, conn.CloseWrite())
	rest, err := io.ReadAll(in)
	require.NoError(t, err)
	require.Equal(t, "bye", string(rest))
	require.Equal(t, 101, receive(t, statuses))
	got := r.events.next(t)
	require.Equal(t, proxy.Success, got.Outcome)
	require.Equal(t, 101, got.Status)
	require.EqualValues(t, len("hello,early,line 0\nline 1\nline 2\nline 3\nline 4\nbye"), got.Bytes)
	require.Len(t, r.events.attempts(), 1)
}

// TestUpgradeRefusedByTheUpstream: its response is an ordinary one, after which the connection
// continues.
func TestUpgradeRefusedByTheUpstream(t *testing.T) {
	t.Parallel()
	r := setup{raw: writes("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")}.start(t)
	conn, in := r.dial(t)
	for range 2 {
		_, err := io.WriteString(conn, askUpgrade)
		require.NoError(t, err)
		require.Equal(t, "no", readResponse(t, in))
	}
}

// TestBadUpgrades never switch the client over.
func TestBadUpgrades(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ raw, ask string }{
		"another protocol": {"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", askUpgrade},
		"no protocol":      {"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n", askUpgrade},
		"not requested":    {switched, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"},
		"h2c requested":    {switched, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n"},
		"no Connection":    {switched, "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := setup{raw: writes(c.raw)}.start(t)
			_, _, res := open(t, r, c.ask)
			require.Equal(t, 502, res.status)
			require.Empty(t, res.header["Upgrade"])
			got := r.events.next(t)
			require.Equal(t, proxy.Failure, got.Outcome)
			require.ErrorIs(t, got.Err, proxy.ErrUpstream)
		})
	}
}

// TestUpgradeWithBody: it is refused before the body has come, since a client that wants to
// switch sends none before.
func TestUpgradeWithBody(t *testing.T) {
	t.Parallel()
	for name, framing := range map[string]string{"of a length": "Content-Length: 5\r\n\r\n", "in chunks": "Transfer-Encoding: chunked\r\n\r\n"} {
		for what, body := range map[string]string{"not sent": "", "sent": "5\r\nhello\r\n0\r\n\r\n"} {
			t.Run(name+", "+what, func(t *testing.T) {
				t.Parallel()
				r := setup{raw: echo}.start(t)
				conn, in := r.dial(t)
				_, err := io.WriteString(conn, strings.TrimSuffix(askUpgrade, "\r\n")+framing+body)
				require.NoError(t, err)
				require.Contains(t, readResponse(t, in), `"code":"upgrade_not_supported"`)
				require.Equal(t, proxy.Refused, r.events.next(t).Outcome)
			})
		}
	}
}

// TestOffersAreIgnored: no other upgrade is requested upstream, or changes what happens to a
// request and its body.
func TestOffersAreIgnored(t *testing.T) {
	t.Parallel()
	r := setup{upstream: func(w http.ResponseWriter, r *http.Request) {
		assert.Empty(t, r.Header["Upgrade"])
		assert.Empty(t, r.Header["Connection"])
		assert.Empty(t, r.Header["Http2-Settings"])
		body, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(w, "plain"+string(body))
	}}.start(t)
	conn, in := r.dial(t)
	for _, offer := range []string{
		"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n",
		"Connection: Upgrade\r\nUpgrade: TLS/1.2\r\n", "Connection: upgrade\r\nUpgrade: TLS/1.3, HTTP/2.0, IRC/6.9\r\n",
		"Connection: upgrade\r\n", "Upgrade: websocket\r\n", "Connection: upgrade\r\nUpgrade:\r\n", "Connection: keep-alive\r\nUpgrade: h2c\r\n",
	} {
		for framing, want := range map[string]string{
			"GET / HTTP/1.1\r\nHost: a\r\n" + offer + "\r\n":                                                      "plain",
			"POST / HTTP/1.1\r\nHost: a\r\n" + offer + "Content-Length: 5\r\n\r\nhello":                           "plainhello",
			"PUT / HTTP/1.1\r\nHost: a\r\n" + offer + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n": "plainhello",
		} {
			_, err := io.WriteString(conn, framing)
			require.NoError(t, err)
			require.Equal(t, want, readResponse(t, in), "%q", offer)
		}
	}
}

// TestUpgradeNeedsHTTP1: on HTTP/2 there is no connection to take over; gin's writer would panic.
func TestUpgradeNeedsHTTP1(t *testing.T) {
	t.Parallel()
	ev := newEvents()
	p := newProxy(t, proxy.Config{OnEvent: ev.on, Transport: transport(func(*http.Request) (*http.Response, error) {
		return nil, errors.New("reached the upstream")
	})})
	req := request(t, http.MethodGet, nil)
	req.Proto, req.ProtoMajor, req.ProtoMinor = "HTTP/2.0", 2, 0
	req.Header = http.Header{"Connection": {"upgrade"}, "Upgrade": {"websocket"}}
	w := serve(p, req)
	require.Equal(t, 501, w.Code)
	require.Contains(t, w.Body.String(), `"code":"upgrade_not_supported"`)
	require.ErrorIs(t, ev.next(t).Err, proxy.ErrUpgrade)
}

// TestEitherSideEndsTheTunnel: the other side receives the end.
func TestEitherSideEndsTheTunnel(t *testing.T) {
	t.Parallel()
	t.Run("the upstream", func(t *testing.T) {
		t.Parallel()
		r := setup{raw: writes(switched + "bye")}.start(t)
		_, in, _ := open(t, r, askUpgrade)
		rest, err := io.ReadAll(in)
		require.NoError(t, err)
		require.Equal(t, "bye", string(rest))
	})
	t.Run("the client", func(t *testing.T) {
		t.Parallel()
		ended := make(chan error, 1)
		r := setup{raw: func(conn net.Conn, _ *http.Request) {
			_, _ = io.WriteString(conn, switched)
			_, err := conn.Read(make([]byte, 1))
			ended <- err
		}}.start(t)
		conn, _, _ := open(t, r, askUpgrade)
		require.NoError(t, conn.Close())
		require.Error(t, receive(t, ended))
		require.Equal(t, 101, r.events.next(t).Status)
	})
}

// TestSilentTunnelIsClosed: by its own limit; the others do not apply.
func TestSilentTunnelIsClosed(t *testing.T) {
	t.Parallel()
	r := setup{raw: echo, config: proxy.Config{Timeouts: proxy.Timeouts{Tunnel: 100 * time.Millisecond, Idle: time.Millisecond, Total: time.Hour}}}.start(t)
	_, in, _ := open(t, r, askUpgrade)
	rest, err := io.ReadAll(in)
	require.NoError(t, err)
	require.Equal(t, "hello,", string(rest))
}

// TestDrain waits for tunnels to end, and closes those that don't.
func TestDrain(t *testing.T) {
	t.Parallel()
	r := setup{raw: echo}.start(t)
	require.NoError(t, r.proxy.Drain(t.Context()), "nothing is open")

	conn, in, _ := open(t, r, askUpgrade)
	expect(t, in, "hello,")
	drained := make(chan error, 1)
	go func() { drained <- r.proxy.Drain(context.Background()) }()
	_, err := io.WriteString(conn, "still here")
	require.NoError(t, err)
	expect(t, in, "still here")
	require.Empty(t, drained)
	require.NoError(t, conn.CloseWrite())
	_, err = io.ReadAll(in)
	require.NoError(t, err)
	require.NoError(t, receive(t, drained))
	r.events.next(t)

	_, in, _ = open(t, r, askUpgrade)
	expect(t, in, "hello,")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(io.ErrClosedPipe)
	require.ErrorIs(t, r.proxy.Drain(ctx), io.ErrClosedPipe)
	_, err = io.ReadAll(in)
	require.NoError(t, err)
	r.events.next(t)
	require.NoError(t, r.proxy.Drain(t.Context()), "all are gone")
}
