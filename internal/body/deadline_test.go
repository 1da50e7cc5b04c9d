package body_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/body"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDeadline(t *testing.T) {
	t.Parallel()
	start := time.Unix(1000, 0)
	tests := []struct {
		n    int64
		want time.Duration
	}{
		{0, 10 * time.Second},
		{499, 10 * time.Second},
		{500, 11 * time.Second},
		{5000, 20 * time.Second},
		{1 << 40, 10*time.Second + (1<<40)/500*time.Second},
	}
	for _, tt := range tests {
		assert.Equal(t, tt.want, body.Deadline(start, tt.n).Sub(start), "%d bytes", tt.n)
	}
}

// deadlines is a writer that records the read deadlines of its connection.
type deadlines struct {
	*httptest.ResponseRecorder
	set []time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.set = append(d.set, t)
	return nil
}

func TestGuard(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		c, _ := gin.CreateTestContext(w)
		c.Request = httptest.NewRequest(http.MethodPost, "/", strings.NewReader(text(1200)))
		r := body.Guarded(c)
		time.Sleep(time.Second) // the time begins with Guarded
		for range 3 {
			_, err := r.Read(make([]byte, 600))
			if err != nil {
				require.ErrorIs(t, err, io.EOF)
			}
		}
		after := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
		assert.Equal(t, []time.Time{after(10), after(11), after(12), {}}, w.set, "lifted at the end, for the requests that follow")
	})
}

// pipes is a listener with connections in memory and in synctest's time.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error { p.once.Do(func() { close(p.done) }); return nil }

func (*pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

// dial starts a real server with the handler, in the bubble of the test, and returns a client's
// connection to it.
func dial(t *testing.T, handler gin.HandlerFunc) net.Conn {
	t.Helper()
	e := gin.New()
	e.POST("/", handler)
	p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	srv := &http.Server{Handler: e, ReadHeaderTimeout: time.Minute}
	go func() { _ = srv.Serve(p) }()
	client, server := net.Pipe()
	p.conns <- server
	require.NoError(t, client.SetDeadline(time.Now().Add(time.Hour))) // a server that hangs fails the test
	t.Cleanup(func() {
		_ = client.Close()
		_ = srv.Shutdown(context.Background())
		synctest.Wait()
	})
	return client
}

func send(t *testing.T, conn net.Conn, s string) {
	t.Helper()
	_, err := io.WriteString(conn, s)
	require.NoError(t, err)
}

// reply is one response; last reports that the server will close the connection.
type reply struct {
	status int
	last   bool
	body   string
}

func receive(t *testing.T, r *bufio.Reader) reply {
	t.Helper()
	res, err := http.ReadResponse(r, nil)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return reply{res.StatusCode, res.Close, string(b)}
}

// size is a handler that responds with the length of the body, or its error.
func size(limit int64) gin.HandlerFunc {
	return func(c *gin.Context) {
		c.Request = within(c.Request, body.Config{Limit: limit})
		held, err := body.Hold(c)
		if err != nil {
			apierror.OpenAI(c, err)
			return
		}
		text := held.Bytes()
		if !held.Whole {
			if text, err = io.ReadAll(c.Request.Body); err != nil {
				apierror.OpenAI(c, err)
				return
			}
		}
		c.String(http.StatusOK, "%d bytes", len(text))
	}
}

// A client that stops gets an error, and its connection is closed: the server does not wait for
// the rest of the body.
func TestBodySlowClient(t *testing.T) {
	t.Parallel()
	for name, head := range map[string]string{
		"announced": "Content-Length: 100\r\n\r\na",
		"chunked":   "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n",
		"silent":    "Content-Length: 100\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				conn, start := dial(t, size(1000)), time.Now()
				send(t, conn, "POST / HTTP/1.1\r\nHost: x\r\n"+head)
				r := bufio.NewReader(conn)
				got := receive(t, r)
				assert.Equal(t, http.StatusRequestTimeout, got.status)
				assert.True(t, got.last)
				assert.Contains(t, got.body, `"code":"request_timeout"`)
				assert.Equal(t, 10*time.Second, time.Since(start))
				_, err := r.ReadByte()
				require.ErrorIs(t, err, io.EOF, "the server hangs up")
				assert.Less(t, time.Since(start), 15*time.Second)
			})
		})
	}
}

// Sending byte by byte within the grace does not help: the rate counts.
func TestBodyDripped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		conn, start := dial(t, size(1000)), time.Now()
		send(t, conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
		var dripping sync.WaitGroup
		dripping.Go(func() {
			for err := error(nil); err == nil; time.Sleep(time.Second) {
				_, err = conn.Write([]byte("a"))
			}
		})
		got := receive(t, bufio.NewReader(conn))
		assert.Equal(t, http.StatusRequestTimeout, got.status)
		assert.Equal(t, 10*time.Second, time.Since(start))
		require.NoError(t, conn.Close())
		dripping.Wait()
	})
}

// A slow line is no slow client, and its connection serves the next request however late it comes.
func TestBodySlowLine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		conn, start := dial(t, size(1<<20)), time.Now()
		send(t, conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n")
		for range 60 {
			send(t, conn, text(1000))
			time.Sleep(time.Second)
		}
		r := bufio.NewReader(conn)
		for range 2 {
			got := receive(t, r)
			assert.Equal(t, http.StatusOK, got.status)
			time.Sleep(time.Minute)
			send(t, conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na")
		}
		assert.Equal(t, 3*time.Minute, time.Since(start))
		got := receive(t, r)
		assert.Equal(t, http.StatusOK, got.status)
	})
}

// Later readers of a body that was too long set deadlines of their own: none is left over from
// the hold.
func TestBodyTooLongHasNoDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		conn := dial(t, size(10))
		send(t, conn, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n0123456789abcdef\r\n")
		time.Sleep(time.Minute)
		send(t, conn, "1\r\nx\r\n0\r\n\r\n")
		got := receive(t, bufio.NewReader(conn))
		assert.Equal(t, "17 bytes", got.body)
	})
}
