package exchange_test

import (
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// connected returns both ends of a TCP connection.
func connected(t *testing.T) (near, far *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	s, err := l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close(); _ = s.Close() })
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

type readWriter struct {
	io.ReadWriteCloser
}

func TestUpgradedConnectionHalfCloses(t *testing.T) {
	t.Parallel()
	foreign := map[string]func(io.ReadCloser) io.ReadCloser{
		"nothing":       func(b io.ReadCloser) io.ReadCloser { return b },
		"a reader":      func(b io.ReadCloser) io.ReadCloser { return wrapped{b, b} },
		"a read-writer": func(b io.ReadCloser) io.ReadCloser { return readWriter{b.(io.ReadWriteCloser)} },
	}
	for name, wrap := range foreign {
		for _, clientFirst := range []bool{false, true} {
			near, far := connected(t)
			a, req, c := begin(t, &exchange.Exchange{Limits: exchange.Limits{Idle: time.Nanosecond, Prefetch: true}}, "/v1/realtime")
			var next http.RoundTripper = transport(func(*http.Request) (*http.Response, error) { return response(101, "", near), nil })
			for range 2 {
				inner := layer{next: next}
				next = transport(func(r *http.Request) (*http.Response, error) {
					res, err := inner.RoundTrip(r)
					res.Body = wrap(res.Body)
					return res, err
				})
			}
			res, err := a.Do(req, next)
			require.NoError(t, err)
			var content bool
			a.OnContent(func(time.Time) { content = true })
			assert.True(t, content, "with the handshake")
			require.Nil(t, endOf(a))
			a.Prefetch()
			conn, ok := res.Body.(interface {
				io.ReadWriteCloser
				CloseWrite() error
			})
			require.True(t, ok, name)
			if clientFirst {
				_, err = conn.Write([]byte("question"))
				require.NoError(t, err)
				require.NoError(t, conn.CloseWrite())
				got, err := io.ReadAll(far)
				require.NoError(t, err)
				assert.Equal(t, "question", string(got))
				_, err = far.Write([]byte("response"))
				require.NoError(t, err)
				require.NoError(t, far.CloseWrite())
				assert.Equal(t, "response", readAll(t, res))
			} else {
				_, err = far.Write([]byte("response"))
				require.NoError(t, err)
				require.NoError(t, far.CloseWrite())
				assert.Equal(t, "response", readAll(t, res))
				_, err = conn.Write([]byte("question"))
				require.NoError(t, err)
				require.NoError(t, conn.CloseWrite())
				got, err := io.ReadAll(far)
				require.NoError(t, err)
				assert.Equal(t, "question", string(got))
			}
			require.NoError(t, res.Body.Close())
			assert.Equal(t, "success nobody", show(endOf(a).Verdict))
			c.requireBalanced(t)
		}
	}
}

func TestUpgradedConnectionThatCannotHalfClose(t *testing.T) {
	t.Parallel()
	near, far := net.Pipe()
	defer far.Close()
	a, req, _ := begin(t, new(exchange.Exchange), "/v1/realtime")
	res, err := a.Do(req, transport(func(*http.Request) (*http.Response, error) { return response(101, "", near), nil }))
	require.NoError(t, err)
	require.Error(t, res.Body.(interface{ CloseWrite() error }).CloseWrite())
	require.NoError(t, res.Body.Close())

	a, req, _ = begin(t, new(exchange.Exchange), "/v1/realtime")
	res, err = a.Do(req, layer{next: give(101, "")})
	require.NoError(t, err)
	_, writes := res.Body.(io.Writer)
	assert.False(t, writes)
	require.NoError(t, res.Body.Close())
}
