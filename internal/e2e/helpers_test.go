package e2e_test

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ginfer/ginfer/balance"
	"github.com/ginfer/ginfer/breaker"
	"github.com/ginfer/ginfer/proxy"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// patience bounds the wait for what normally happens at once.
const patience = 20 * time.Second

// newServer serves h until the test ends.
func newServer(tb testing.TB, h http.Handler) *httptest.Server {
	tb.Helper()
	s := httptest.NewServer(h)
	tb.Cleanup(s.Close)
	return s
}

// newQuietServer is newServer for a server that logs no errors.
func newQuietServer(tb testing.TB, h http.Handler) *httptest.Server {
	tb.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Start()
	tb.Cleanup(s.Close)
	return s
}

// newTransport returns a transport that closes its connections when the test ends.
func newTransport(tb testing.TB, cfg proxy.TransportConfig) *proxy.Transport {
	tb.Helper()
	transport, err := proxy.NewTransport(cfg)
	require.NoError(tb, err)
	tb.Cleanup(transport.CloseIdleConnections)
	return transport
}

// newCircuits returns a group that is closed when the test ends.
func newCircuits(tb testing.TB, cfg breaker.Config) *breaker.Group {
	tb.Helper()
	g, err := breaker.New(cfg)
	require.NoError(tb, err)
	tb.Cleanup(g.Close)
	return g
}

func newPool(tb testing.TB, cfg balance.Config) *balance.Pool {
	tb.Helper()
	pool, err := balance.New(cfg)
	require.NoError(tb, err)
	return pool
}

// newClient returns a client that closes its connections when the test ends.
func newClient(t *testing.T, connections int) *http.Client {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: connections, MaxIdleConns: connections}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// each calls f with 0 to n-1, atOnce of them concurrently.
func each(n, atOnce int, f func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range atOnce {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				f(int(i))
			}
		})
	}
	wg.Wait()
}

// waitFor waits until d has passed or the test ends.
func waitFor(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
}

// inFlight lists the circuits and endpoints that have exchanges in flight.
func inFlight(circuits []*breaker.Group, pools []*balance.Pool) (list []string) {
	for _, group := range circuits {
		for _, s := range group.Status() {
			if s.Inflight != 0 {
				list = append(list, fmt.Sprintf("in flight in the circuit of %s: %d", s.Circuit, s.Inflight))
			}
		}
	}
	for _, pool := range pools {
		for _, s := range pool.Status() {
			if s.Inflight != 0 {
				list = append(list, fmt.Sprintf("in flight at %s: %d", s.Name, s.Inflight))
			}
		}
	}
	return list
}

// awaitNone waits until list returns nothing, and returns what is left.
func awaitNone(list func() []string) (left []string) {
	assert.Eventually(new(discardT), func() bool { left = list(); return len(left) == 0 }, patience, 2*time.Millisecond)
	return left
}

// discardT discards the failures of an assertion of which only the result matters.
type discardT struct{}

func (*discardT) Errorf(string, ...any) {}

// lockedBuffer is a bytes.Buffer for concurrent use.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
