package h1_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/ginfer/ginfer/internal/connect"
	"github.com/ginfer/ginfer/internal/h1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Connections that the server has closed, or sent something on, do not stay in the pool.
func TestClosedIdleConnectionsAreNoticed(t *testing.T) {
	t.Parallel()
	for name, unasked := range map[string]string{"closed": "", "a response of its own": "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const clients = 20
			var arrived sync.WaitGroup
			arrived.Add(clients)
			release := make(chan struct{})
			up := serve(t, func(c net.Conn, in *bufio.Reader) {
				if _, err := http.ReadRequest(in); err != nil {
					return
				}
				arrived.Done()
				arrived.Wait()
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				<-release
				if _, _ = io.WriteString(c, unasked); unasked != "" {
					_, _ = in.ReadByte() // until the client closes
				}
			})
			tr := newTransport(t, nil)
			var all sync.WaitGroup
			for range clients {
				all.Go(func() {
					_, _, err := do(t, tr, request(t, http.MethodGet, up)) //nolint:bodyclose // closed in do
					assert.NoError(t, err)
				})
			}
			all.Wait()
			require.Equal(t, clients, tr.Idle())
			close(release)
			require.Eventually(t, func() bool { return tr.Idle() == 0 }, 20*time.Second, 10*time.Millisecond)
		})
	}
}

// The shorter idle timeout of the two sides applies, whatever else the server says beside it.
func TestAnnouncedIdleTimeout(t *testing.T) {
	t.Parallel()
	for announced, closes := range map[string]bool{
		"timeout=1": true, "Timeout = 1 , max=100": true, "max=5, timeout=1": true, "timeout=0": true,
		"timeout=600": false, "timeout=": false, "timeout=-1": false, "timeout=99999999999999999999": false, "max=1": false, ",=,": false,
	} {
		t.Run(announced, func(t *testing.T) {
			t.Parallel()
			up := respondWith(t, "HTTP/1.1 200 OK\r\nKeep-Alive: "+announced+"\r\nContent-Length: 0\r\n\r\n")
			tr := newTransport(t, nil)
			_, _, err := do(t, tr, request(t, http.MethodGet, up)) //nolint:bodyclose // closed in do
			require.NoError(t, err)
			if closes {
				require.Eventually(t, func() bool { return tr.Idle() == 0 }, 20*time.Second, 10*time.Millisecond)
				return
			}
			<-time.After(1500 * time.Millisecond)
			assert.Equal(t, 1, tr.Idle())
		})
	}
}

// An idle connection past its age is closed.
func TestOldIdleConnectionsAreClosed(t *testing.T) {
	t.Parallel()
	up := respondWith(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	tr := newTransport(t, func(c *h1.Config) { c.Dial = connect.Lifetime{MaxAge: 100 * time.Millisecond}.Dial(c.Dial) })
	_, _, err := do(t, tr, request(t, http.MethodGet, up)) //nolint:bodyclose // closed in do
	require.NoError(t, err)
	require.Eventually(t, func() bool { return tr.Idle() == 0 }, 20*time.Second, 10*time.Millisecond)
}

// A dialer's other connections have no lifetime.
func TestConnectionsOfOtherKinds(t *testing.T) {
	t.Parallel()
	up := respondWith(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	tr := newTransport(t, func(c *h1.Config) {
		dial := c.Dial
		c.Dial = connect.Lifetime{MaxAge: 1, MaxRequests: 1}.Dial(func(ctx context.Context, network, address string) (net.Conn, error) {
			nc, err := dial(ctx, network, address)
			return struct{ net.Conn }{nc}, err
		})
	})
	for range 3 {
		_, _, err := do(t, tr, request(t, http.MethodGet, up)) //nolint:bodyclose // closed in do
		require.NoError(t, err)
	}
	assert.Equal(t, 1, up.connections())
}
