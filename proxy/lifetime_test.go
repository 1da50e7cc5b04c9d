package proxy_test

import (
	"context"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ginfer/ginfer/proxy"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// link is a kind of connection to an upstream.
type link struct {
	secure   bool
	protocol string
	body     string
}

func links() map[string]link {
	short, long := `{"model":"m"}`, strings.Repeat("a", 100<<10)
	return map[string]link{
		"plain":          {body: short},
		"plain, long":    {body: long},
		"TLS":            {true, "http1", short},
		"HTTP/2":         {true, "", short},
		"HTTP/2, long":   {true, "http2", long},
		"HTTP/2, no TLS": {false, "h2c", short},
	}
}

// counted is a server that counts the requests of each connection.
type counted struct {
	*httptest.Server

	mu    sync.Mutex
	conns []*atomic.Int64
}

// countRequests starts a server whose handler gets the number of the request's connection.
func countRequests(tb testing.TB, l link, h func(w http.ResponseWriter, r *http.Request, conn int)) *counted {
	tb.Helper()
	s := new(counted)
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		id := r.Context().Value(nthKey{}).(int)
		s.mu.Lock()
		s.conns[id].Add(1)
		s.mu.Unlock()
		h(w, r, id)
	}))
	s.Config.ErrorLog = quiet()
	s.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.conns = append(s.conns, new(atomic.Int64))
		return context.WithValue(ctx, nthKey{}, len(s.conns)-1)
	}
	s.EnableHTTP2 = l.secure && l.protocol != "http1"
	if l.protocol == "h2c" {
		s.Config.Protocols = new(http.Protocols)
		s.Config.Protocols.SetUnencryptedHTTP2(true)
	}
	if l.secure {
		s.StartTLS()
	} else {
		s.Start()
	}
	tb.Cleanup(s.Close)
	return s
}

// counts returns the number of requests of each connection.
func (s *counted) counts() []int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []int64
	for _, n := range s.conns {
		if n.Load() > 0 {
			all = append(all, n.Load())
		}
	}
	return all
}

// trusting is a transport that trusts a test server's certificate.
func trusting(tb testing.TB, s *httptest.Server, cfg proxy.TransportConfig) *proxy.Transport {
	tb.Helper()
	if cert := s.Certificate(); cert != nil {
		cfg.CAFile = filepath.Join(tb.TempDir(), "ca.pem")
		require.NoError(tb, os.WriteFile(cfg.CAFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}), 0o600))
	}
	tr, err := proxy.NewTransport(cfg)
	require.NoError(tb, err)
	tb.Cleanup(tr.CloseIdleConnections)
	return tr
}

// A connection has at most so many requests, and at least half as many.
func TestMaxRequests(t *testing.T) {
	t.Parallel()
	for name, l := range links() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			up := countRequests(t, l, func(w http.ResponseWriter, _ *http.Request, _ int) { _, _ = io.WriteString(w, "ok") })
			tr := trusting(t, up.Server, proxy.TransportConfig{Protocol: l.protocol, MaxRequests: 10})
			r := setup{config: proxy.Config{Target: parse(t, up.URL), Transport: tr}}.start(t)
			for range 100 {
				require.True(t, isPosted(r, l.body))
			}
			all := up.counts()
			assert.Greater(t, len(all), 9)
			for _, n := range all[:len(all)-1] {
				assert.GreaterOrEqual(t, n, int64(5))
				assert.LessOrEqual(t, n, int64(10))
			}
		})
	}
}

// A connection past its age has one more request at most. Streams in progress are not cut.
func TestMaxAge(t *testing.T) {
	t.Parallel()
	for name, l := range links() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			release := make(chan struct{})
			up := countRequests(t, l, func(w http.ResponseWriter, r *http.Request, _ int) {
				if strings.HasSuffix(r.URL.Path, "/long") {
					_, _ = io.WriteString(w, "begun")
					assert.NoError(t, http.NewResponseController(w).Flush())
					<-release
				}
				_, _ = io.WriteString(w, "ok")
			})
			tr := trusting(t, up.Server, proxy.TransportConfig{Protocol: l.protocol, MaxAge: 100 * time.Millisecond})
			r := setup{config: proxy.Config{Target: parse(t, up.URL), Transport: tr}}.start(t)
			res, err := r.client.Post(r.URL+"/v1/long", "application/octet-stream", strings.NewReader(l.body))
			require.NoError(t, err)
			require.Eventually(t, func() bool { return assert.True(t, isPosted(r, l.body)) && len(up.counts()) > 4 }, time.Minute, time.Millisecond)
			close(release)
			got, err := io.ReadAll(res.Body)
			require.NoError(t, err)
			require.NoError(t, res.Body.Close())
			assert.Equal(t, "begunok", string(got))
		})
	}
}

// Negative bounds are none.
func TestUnlimitedLifetime(t *testing.T) {
	t.Parallel()
	up := countRequests(t, link{}, func(http.ResponseWriter, *http.Request, int) {})
	tr := trusting(t, up.Server, proxy.TransportConfig{MaxAge: -1, MaxRequests: -1, IdleTimeout: -1})
	r := setup{config: proxy.Config{Target: parse(t, up.URL), Transport: tr}}.start(t)
	for range 50 {
		require.True(t, isPosted(r, "{}"))
	}
	assert.Equal(t, []int64{50}, up.counts())
}
