package proxy_test

import (
	"cmp"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ginfer/ginfer/breaker"
	"github.com/ginfer/ginfer/proxy"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type nthKey struct{}

// forgetful is a server that closes connections which clients still use.
func forgetful(tb testing.TB, secure, two bool, idle time.Duration, drops bool) (*httptest.Server, *atomic.Int64) {
	tb.Helper()
	var dropped atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if n, _ := r.Context().Value(nthKey{}).(*atomic.Int64); drops && n.Add(1)%2 == 0 {
			dropped.Add(1)
			c, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_ = c.Close()
			}
			return
		}
		_, _ = io.WriteString(w, "ok")
	}))
	s.Config.IdleTimeout = idle
	s.Config.ErrorLog = quiet()
	s.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
		return context.WithValue(ctx, nthKey{}, new(atomic.Int64))
	}
	s.EnableHTTP2 = two
	if secure {
		s.StartTLS()
	} else {
		s.Start()
	}
	tb.Cleanup(s.Close)
	return s, &dropped
}

// Servers close idle connections, some just as one is reused: no request fails for that, the proxy
// retries none, and no circuit counts it.
func TestReusedConnections(t *testing.T) {
	t.Parallel()
	short, long := `{"model":"m"}`, strings.Repeat("a", 100<<10)
	for name, tt := range map[string]struct {
		secure, two, drops bool
		protocol, body     string
		posts              int
	}{
		"idle for 50 ms":                   {body: short, posts: 2000},
		"idle for 50 ms, long":             {body: long},
		"idle for 50 ms, TLS":              {body: short, secure: true, protocol: "http1"},
		"idle for 50 ms, HTTP/2":           {body: short, secure: true, two: true, protocol: "http2"},
		"drops every second request":       {body: short, drops: true, posts: 2000},
		"drops every second request, long": {body: long, drops: true},
		"drops every second request, TLS":  {body: short, drops: true, secure: true, protocol: "http1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			idle, pause := 50*time.Millisecond, time.Duration(0)
			if tt.drops {
				idle = 0
			}
			up, dropped := forgetful(t, tt.secure, tt.two, idle, tt.drops)
			circuits, err := breaker.New(breaker.Config{})
			require.NoError(t, err)
			t.Cleanup(circuits.Close)
			var repeated atomic.Int64
			r := setup{config: proxy.Config{
				Target: parse(t, up.URL), Transport: circuits.Transport(trusting(t, up, proxy.TransportConfig{Protocol: tt.protocol})),
				OnEvent: func(_ context.Context, e proxy.Event) {
					if e.Outcome != proxy.Success || e.Attempt != 1 {
						repeated.Add(1)
					}
				},
			}}.start(t)
			if !tt.drops {
				pause = idle
			}
			failed := postOften(r, tt.body, cmp.Or(tt.posts, 400), pause)
			assert.Zero(t, failed)
			assert.Zero(t, repeated.Load())
			assert.Equal(t, tt.drops, dropped.Load() > 40)
			assert.Equal(t, breaker.Closed, circuits.Status()[0].State)
		})
	}
}

// postOften makes 40 clients send that many requests together, and returns how many failed.
// They pause between them for about as long as the server keeps a connection.
func postOften(r *rig, body string, posts int, pause time.Duration) int64 {
	const clients = 40
	var failed atomic.Int64
	var all sync.WaitGroup
	for n := range clients {
		all.Go(func() {
			for i := range posts / clients {
				if pause > 0 {
					<-time.After(pause + time.Duration((n+i)%5-2)*time.Millisecond/2)
				}
				if !isPosted(r, body) {
					failed.Add(1)
				}
			}
		})
	}
	all.Wait()
	return failed.Load()
}

func isPosted(r *rig, body string) bool {
	res, err := r.client.Post(r.URL+"/v1/x", "application/json", strings.NewReader(body))
	if err != nil {
		return false
	}
	defer func() { _ = res.Body.Close() }()
	_, err = io.Copy(io.Discard, res.Body)
	return err == nil && res.StatusCode == http.StatusOK
}

// A body that is not in memory can't be sent again. That does not count against the upstream.
func TestReusedConnectionOfUpload(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		secure   bool
		protocol string
	}{"plain": {}, "TLS": {true, "http1"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			up, _ := forgetful(t, tt.secure, false, 0, true)
			circuits, err := breaker.New(breaker.Config{Settings: breaker.Settings{Consecutive: 1}})
			require.NoError(t, err)
			t.Cleanup(circuits.Close)
			r := setup{config: proxy.Config{Target: parse(t, up.URL), Transport: circuits.Transport(trusting(t, up, proxy.TransportConfig{Protocol: tt.protocol})), MaxBody: 8}}.start(t)
			long := strings.Repeat("a", 64<<10)
			assert.True(t, isPosted(r, long))
			assert.False(t, isPosted(r, long))
			assert.True(t, isPosted(r, long))
			assert.Equal(t, breaker.Closed, circuits.Status()[0].State)
		})
	}
}
