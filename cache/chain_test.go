package cache_test

import (
	"context"
	"crypto/sha256"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/cache"
	"github.com/ginfer/ginfer/proxy"
	"github.com/ginfer/ginfer/stream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// gateway is a chain with the cache in its place: before stream and proxy.
func gateway(t *testing.T, proto string, model http.HandlerFunc) *httptest.Server {
	t.Helper()
	up := httptest.NewUnstartedServer(model)
	up.Config.ErrorLog = quiet()
	up.Start()
	t.Cleanup(up.Close)
	target, err := url.Parse(up.URL)
	require.NoError(t, err)
	transport, ok := http.DefaultTransport.(*http.Transport)
	require.True(t, ok)
	transport = transport.Clone()
	t.Cleanup(transport.CloseIdleConnections)
	p, err := proxy.New(proxy.Config{Transport: transport, Target: target})
	require.NoError(t, err)
	streams, err := stream.New(stream.Config{})
	require.NoError(t, err)
	r := gin.New()
	r.Use(apierror.Recovery(nil))
	r.Any("/*path", newCache(t, cache.Config{}).Middleware(), streams.Middleware(), p.Handler())
	s := httptest.NewUnstartedServer(r)
	s.Config.ErrorLog = quiet()
	if proto == "h2" {
		s.EnableHTTP2 = true
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

// begin sends n requests, lets the upstream continue when all have the beginning, and checks
// the rest of each.
func begin(t *testing.T, s *httptest.Server, n int, beginning string, goOn chan<- struct{}, check func(rest string, err error)) {
	t.Helper()
	var begun sync.WaitGroup
	begun.Add(n)
	go func() {
		begun.Wait()
		close(goOn)
	}()
	together(n, func(int) {
		res, err := send(t.Context(), s, chatStream)
		if err != nil {
			begun.Done()
			t.Error(err)
			return
		}
		defer func() { _ = res.Body.Close() }()
		b := make([]byte, len(beginning))
		_, _ = io.ReadFull(res.Body, b)
		begun.Done()
		assert.Equal(t, beginning, string(b))
		rest, err := io.ReadAll(res.Body)
		check(string(rest), err)
	})
}

func TestChain(t *testing.T) {
	t.Parallel()
	for _, proto := range []string{"h1", "h2"} {
		t.Run(proto, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int64
			all, begun := events("a", "b", "c"), make(chan struct{})
			s := gateway(t, proto, func(w http.ResponseWriter, _ *http.Request) {
				calls.Add(1)
				w.Header().Set("Content-Type", "text/event-stream")
				for i, e := range all {
					if i == 2 { // the proxy holds back events without content
						<-begun
					}
					_, _ = io.WriteString(w, e)
					_ = http.NewResponseController(w).Flush()
				}
			})
			begin(t, s, 50, all[0]+all[1], begun, func(rest string, err error) { // the beginning comes at once
				assert.Equal(t, []any{strings.Join(all[2:], ""), nil}, []any{rest, err})
			})
			require.EqualValues(t, 1, calls.Load())
			res, err := send(t.Context(), s, chatPlain)
			require.NoError(t, err)
			defer func() { _ = res.Body.Close() }()
			require.Contains(t, res.Header.Get("Cache-Status"), "; hit")
		})
	}
}

// A stream that the upstream breaks ends with an error event for all clients, and is not
// stored.
func TestChainUpstreamBreaks(t *testing.T) {
	t.Parallel()
	for _, proto := range []string{"h1", "h2"} {
		t.Run(proto, func(t *testing.T) {
			t.Parallel()
			all, begun := events("a", "b", "c"), make(chan struct{})
			s := gateway(t, proto, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/event-stream")
				_, _ = io.WriteString(w, all[0]+all[1])
				_ = http.NewResponseController(w).Flush()
				<-begun
				panic(http.ErrAbortHandler)
			})
			begin(t, s, 10, all[0]+all[1], begun, func(rest string, err error) {
				assert.Error(t, err) //nolint:testifylint // a failure here must not end the goroutine
				assert.Contains(t, rest, `"error"`)
				assert.NotContains(t, rest, "[DONE]")
			})
		})
	}
}

// When all clients have disconnected, the gateway disconnects from the upstream.
func TestChainClientsDisconnect(t *testing.T) {
	t.Parallel()
	for _, proto := range []string{"h1", "h2"} {
		t.Run(proto, func(t *testing.T) {
			t.Parallel()
			gone := make(chan struct{})
			s := gateway(t, proto, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				w.Header().Set("Content-Type", "text/event-stream")
				_, _ = io.WriteString(w, strings.Join(events("a")[:2], ""))
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
				close(gone)
			})
			var leave []context.CancelFunc
			for range 3 {
				ctx, cancel := context.WithCancel(t.Context())
				leave = append(leave, cancel)
				res, err := send(ctx, s, chatStream)
				require.NoError(t, err)
				defer func() { _ = res.Body.Close() }()
				_, err = res.Body.Read(make([]byte, 10))
				require.NoError(t, err)
			}
			leave[0]()
			leave[1]()
			select {
			case <-gone:
				require.Fail(t, "a client is still connected")
			case <-time.After(50 * time.Millisecond): // long enough to be noticed
			}
			leave[2]()
			<-gone
		})
	}
}

// Large bodies pass unchanged, at the pace of the client.
func TestChainLargeBody(t *testing.T) {
	t.Parallel()
	body := strings.Repeat("0123456789abcdef", 512<<10) // 8 MiB
	s := gateway(t, "h1", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		_, _ = io.WriteString(w, body)
	})
	for range 2 {
		res, err := s.Client().Get(s.URL + "/large")
		require.NoError(t, err)
		got, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		require.NoError(t, err)
		require.Equal(t, sha256.Sum256([]byte(body)), sha256.Sum256(got))
		require.Contains(t, res.Header.Get("Cache-Status"), "fwd=uri-miss")
	}
}
