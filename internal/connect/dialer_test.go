package connect_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ginfer/ginfer/internal/connect"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// pods are servers on the same port of several addresses.
type pods struct {
	port   string
	served map[string]*atomic.Int64
}

func startPods(tb testing.TB, addrs ...string) *pods {
	tb.Helper()
	if runtime.GOOS != "linux" {
		tb.Skip("needs all of 127.0.0.0/8")
	}
	p := &pods{served: map[string]*atomic.Int64{}}
	for _, a := range addrs {
		ln, err := net.Listen("tcp", net.JoinHostPort(a, p.port))
		require.NoError(tb, err)
		if p.port == "" {
			p.port = strconv.Itoa(ln.Addr().(*net.TCPAddr).Port)
		}
		count := new(atomic.Int64)
		p.served[a] = count
		s := &httptest.Server{Listener: ln, Config: &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { count.Add(1) })}} //nolint:gosec // a test
		s.Start()
		tb.Cleanup(s.Close)
	}
	return p
}

func client(tb testing.TB, d *connect.Dialer) *connect.Transport {
	tb.Helper()
	t := connect.NewTransport(&http.Transport{DialContext: d.DialContext, MaxIdleConnsPerHost: 100})
	tb.Cleanup(t.CloseIdleConnections)
	return t
}

func get(tb testing.TB, t http.RoundTripper, url string) {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, url, http.NoBody)
	require.NoError(tb, err)
	res, err := t.RoundTrip(req)
	require.NoError(tb, err)
	require.NoError(tb, res.Body.Close())
}

// Connections spread over all addresses of a name, whatever their order.
func TestAllAddressesGetConnections(t *testing.T) {
	t.Parallel()
	var z zone
	z.set("127.0.0.1", "127.0.0.2", "127.0.0.3")
	p := startPods(t, "127.0.0.1", "127.0.0.2", "127.0.0.3")
	d := &connect.Dialer{Dialer: net.Dialer{Timeout: 5 * time.Second, Resolver: z.resolver(t)}}
	for range 9 {
		c, err := d.DialContext(t.Context(), "tcp", "pods.test:"+p.port)
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
		p.served[host].Add(1)
	}
	for a, n := range p.served {
		assert.EqualValues(t, 3, n.Load(), a)
	}
}

// A new address gets its part within one look-up, with one connection as with many. One that left
// gets nothing after its connections aged out.
func TestNamesAreFollowed(t *testing.T) {
	t.Parallel()
	var z zone
	p := startPods(t, "127.0.0.1", "127.0.0.2")
	z.set("127.0.0.1")
	d := &connect.Dialer{
		Dialer:   net.Dialer{Timeout: 5 * time.Second, Resolver: z.resolver(t)},
		Lifetime: connect.Lifetime{MaxRequests: 200},
	}
	tr := client(t, d)
	url := "http://pods.test:" + p.port
	for range 10 {
		get(t, tr, url)
	}
	assert.Zero(t, p.served["127.0.0.2"].Load())

	z.set("127.0.0.1", "127.0.0.2")
	d.Recheck("pods.test")
	require.Eventually(t, func() bool {
		get(t, tr, url)
		return p.served["127.0.0.2"].Load() > 0
	}, 10*time.Second, time.Millisecond)
	assert.Zero(t, d.Surplus("pods.test"), "one connection was enough")

	z.set("127.0.0.1")
	for range 200 { // the connection's last requests
		get(t, tr, url)
	}
	gone := p.served["127.0.0.2"].Load()
	for range 300 {
		get(t, tr, url)
	}
	assert.Equal(t, gone, p.served["127.0.0.2"].Load())
}

// An address that refuses or does not answer delays a connection, but fails none; another family
// is tried as well.
func TestDeadAddresses(t *testing.T) {
	t.Parallel()
	for name, addrs := range map[string][]string{
		"refused":        {"127.0.0.9", "127.0.0.1"},
		"silent":         {"192.0.2.1", "127.0.0.1"},
		"another family": {"2001:db8::1", "127.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var z zone
			z.set(addrs...)
			p := startPods(t, "127.0.0.1")
			d := &connect.Dialer{Dialer: net.Dialer{Timeout: 20 * time.Second, Resolver: z.resolver(t)}}
			for range 5 {
				c, err := d.DialContext(t.Context(), "tcp", "pods.test:"+p.port)
				require.NoError(t, err)
				require.NoError(t, c.Close())
			}
		})
	}
}

// An unknown name, and one whose addresses all refuse, are errors of the dial.
func TestDialErrors(t *testing.T) {
	t.Parallel()
	p := startPods(t)
	var z zone
	z.set()
	d := &connect.Dialer{Dialer: net.Dialer{Timeout: 10 * time.Second, Resolver: z.resolver(t)}}
	_, err := d.DialContext(t.Context(), "tcp", "pods.test:1"+p.port)
	var op *net.OpError
	require.ErrorAs(t, err, &op)
	assert.Equal(t, "dial", op.Op)
	assert.ErrorContains(t, err, "lookup pods.test")

	z.set("127.0.0.8", "127.0.0.9")
	_, err = d.DialContext(t.Context(), "tcp", "pods.test:1")
	require.ErrorAs(t, err, &op)
	assert.ErrorContains(t, err, "refused")
}
