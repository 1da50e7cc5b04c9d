package h1_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	bodies "github.com/ginfer/ginfer/internal/body"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// long is a body that fills all buffers of a connection.
func long() []byte { return bytes.Repeat([]byte("0123456789abcdef"), 1<<20) }

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// A server that reads all keeps its connection.
func TestLongBodies(t *testing.T) {
	t.Parallel()
	got := make(chan []byte, 3)
	up := serve(t, func(c net.Conn, in *bufio.Reader) {
		for {
			req, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			b, err := io.ReadAll(req.Body)
			if err != nil {
				return
			}
			got <- b
			_, _ = io.WriteString(c, ok)
		}
	})
	tr := newTransport(t, nil)
	for range 3 {
		req := request(t, http.MethodPost, up)
		bodies.Set(req, long())
		_, body, err := do(t, tr, req) //nolint:bodyclose // closed in do
		require.NoError(t, err)
		assert.Equal(t, "ok", body)
		assert.True(t, bytes.Equal(long(), <-got))
	}
	assert.Equal(t, 1, up.connections())
}

// A server may respond before it has read the body, whether it reads the rest or closes. The response
// arrives whole, and the connection is not used again.
func TestEarlyResponseToALongBody(t *testing.T) {
	t.Parallel()
	for name, then := range map[string]func(c net.Conn, in *bufio.Reader){
		"and stays": func(_ net.Conn, _ *bufio.Reader) { time.Sleep(200 * time.Millisecond) },
		"and closes its half": func(c net.Conn, in *bufio.Reader) {
			_ = c.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, in)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			up := serve(t, func(c net.Conn, in *bufio.Reader) {
				if _, err := http.ReadRequest(in); err == nil {
					_, _ = io.WriteString(c, ok)
					then(c, in)
				}
			})
			tr := newTransport(t, nil)
			req := request(t, http.MethodPost, up)
			bodies.Set(req, long())
			res, body, err := do(t, tr, req) //nolint:bodyclose // closed in do
			require.NoError(t, err)
			assert.Equal(t, http.StatusOK, res.StatusCode)
			assert.Equal(t, "ok", body)
			if name == "and stays" {
				assert.Zero(t, tr.Idle())
			}
		})
	}
}

// A canceled request ends at once, and nothing uses its body afterwards.
func TestCanceledLongBody(t *testing.T) {
	t.Parallel()
	up := serve(t, func(_ net.Conn, in *bufio.Reader) {
		_, _ = in.ReadByte()
		time.Sleep(time.Second)
	})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	req := requestWith(t, ctx, http.MethodPost, up)
	body := long()
	bodies.Set(req, body)
	begun := time.Now()
	_, _, err := do(t, newTransport(t, nil), req) //nolint:bodyclose // closed in do
	require.ErrorIs(t, err, context.Canceled)
	assert.Less(t, time.Since(begun), 900*time.Millisecond)
	clear(body) // the race detector would find a reader
}

// A stale connection is no failure for a long body either.
func TestLongBodyOnAStaleConnection(t *testing.T) {
	t.Parallel()
	up := respondOnce(t, ok)
	tr := newTransport(t, nil)
	for range 3 {
		req := request(t, http.MethodPost, up)
		bodies.Set(req, bytes.Repeat([]byte("x"), 64<<10))
		_, body, err := do(t, tr, req) //nolint:bodyclose // closed in do
		require.NoError(t, err)
		assert.Equal(t, "ok", body)
	}
}
