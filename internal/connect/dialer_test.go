package connect_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ginfer/ginfer/internal/connect"
	"github.com/ginfer/ginfer/internal/testkit/need"
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
		protocols := new(http.Protocols)
		protocols.SetHTTP1(true)
		protocols.SetUnencryptedHTTP2(true)
		s := &httptest.Server{Listener: ln, Config: &http.Server{Protocols: protocols, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			count.Add(1)
			if r.URL.Path == "/slow" {
				<-time.After(50 * time.Millisecond)
			}
		})}}
		s.Start()
		tb.Cleanup(s.Close)
	}
	return p
}

func client(tb testing.TB, d *connect.Dialer, protocol func(*http.Protocols, bool)) *connect.Transport {
	tb.Helper()
	protocols := new(http.Protocols)
	protocol(protocols, true)
	t := connect.NewTransport(&http.Transport{DialContext: d.DialContext, MaxIdleConnsPerHost: 100, Protocols: protocols})
	tb.Cleanup(t.CloseIdleConnections)
	return t
}

func get(tb testing.TB, t http.RoundTripper, url string) {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		panic(err) // not require: other goroutines call this too
	}
	res, err := t.RoundTrip(req)
	if assert.NoError(tb, err) {
		assert.NoError(tb, res.Body.Close())
	}
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
// gets nothing after its connections have ended.
func TestNamesAreFollowed(t *testing.T) {
	t.Parallel()
	for name, protocol := range map[string]func(*http.Protocols, bool){"HTTP/1.1": (*http.Protocols).SetHTTP1, "HTTP/2": (*http.Protocols).SetUnencryptedHTTP2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var z zone
			p := startPods(t, "127.0.0.1", "127.0.0.2")
			z.set("127.0.0.1")
			d := &connect.Dialer{
				Dialer:   net.Dialer{Timeout: 5 * time.Second, Resolver: z.resolver(t)},
				Lifetime: connect.Lifetime{MaxRequests: 200},
			}
			tr := client(t, d, protocol)
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
			}, 20*time.Second, time.Millisecond)
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
		})
	}
}

// With many connections a new address soon has its share of them, and none is cut.
func TestNewAddressesGetTheirShare(t *testing.T) {
	t.Parallel()
	var z zone
	p := startPods(t, "127.0.0.1", "127.0.0.2", "127.0.0.3")
	z.set("127.0.0.1", "127.0.0.2")
	d := &connect.Dialer{Dialer: net.Dialer{Timeout: 5 * time.Second, Resolver: z.resolver(t)}}
	tr := client(t, d, (*http.Protocols).SetHTTP1)
	url := "http://pods.test:" + p.port + "/slow"
	together := func() {
		var all sync.WaitGroup
		for range 30 {
			all.Go(func() { get(t, tr, url) })
		}
		all.Wait()
	}
	together()
	z.set("127.0.0.3", "127.0.0.1", "127.0.0.2")
	d.Recheck("pods.test")
	require.Eventually(t, func() bool {
		together()
		return d.Live("pods.test", "127.0.0.3") >= 8
	}, 20*time.Second, time.Millisecond)
	assert.LessOrEqual(t, d.Live("pods.test", "127.0.0.3"), 12)
}

// In a default pool a new pod has traffic within 30 s.
func TestNeighbourNewPodHasTrafficWithin30Seconds(t *testing.T) {
	t.Parallel()
	need.Minutes(t)
	var z zone
	p := startPods(t, "127.0.0.1", "127.0.0.2")
	z.set("127.0.0.1")
	tr := client(t, &connect.Dialer{Dialer: net.Dialer{Timeout: 5 * time.Second, Resolver: z.resolver(t)}}, (*http.Protocols).SetHTTP1)
	get(t, tr, "http://pods.test:"+p.port)
	z.set("127.0.0.1", "127.0.0.2")
	require.Eventually(t, func() bool {
		get(t, tr, "http://pods.test:"+p.port)
		return p.served["127.0.0.2"].Load() > 0
	}, 30*time.Second, 50*time.Millisecond)
}

// An address that refuses or does not respond delays a connection, but fails none; another family
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

// An unknown name, and one with addresses that all refuse, are errors of the dial.
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
	require.ErrorContains(t, err, "lookup pods.test")

	z.set("127.0.0.8", "127.0.0.9")
	_, err = d.DialContext(t.Context(), "tcp", "pods.test:1")
	require.ErrorAs(t, err, &op)
	assert.ErrorContains(t, err, "refused")
}
