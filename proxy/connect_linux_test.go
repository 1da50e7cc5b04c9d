package proxy_test

import (
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ginfer/ginfer/proxy"
	"github.com/stretchr/testify/require"
)

// fullListener returns an address that neither accepts nor refuses a connection: its backlog is
// full.
func fullListener(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	raw, err := ln.(*net.TCPListener).SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) { err = syscall.Listen(int(fd), 0) }))
	require.NoError(t, err)
	for range 10 {
		conn, err := net.DialTimeout("tcp", ln.Addr().String(), 100*time.Millisecond)
		if err != nil {
			return ln.Addr().String()
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	t.Skip("this system's backlog has no end")
	return ""
}

// TestConnectTimeout: a server that does not accept the connection is a timeout. Nothing was
// sent, so even a POST is retried.
func TestConnectTimeout(t *testing.T) {
	t.Parallel()
	r := setup{config: proxy.Config{
		Target: parse(t, "http://"+fullListener(t)), Timeouts: proxy.Timeouts{Connect: 50 * time.Millisecond}, Retry: proxy.Retry{Attempts: 2, Backoff: -1},
	}}.start(t)
	start := time.Now()
	a := r.post(t, "/", strings.NewReader("{}"))
	require.Less(t, time.Since(start), 3*time.Second)
	require.Equal(t, http.StatusGatewayTimeout, a.status)
	require.Contains(t, a.body, `"code":"upstream_timeout"`)
	got := r.events.next(t)
	require.Equal(t, 2, got.Attempt)
	require.ErrorIs(t, got.Err, proxy.ErrTimeout)
	require.Equal(t, proxy.Failure, got.Outcome)
}
