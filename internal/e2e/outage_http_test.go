package e2e_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ginfer/ginfer/breaker"
	"github.com/ginfer/ginfer/proxy"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Over real connections and with hystrix's rates, a total outage at a hundred requests a
// second opens the circuit within a second, and it closes after the recovery.
func TestOutageOverHTTP(t *testing.T) {
	t.Parallel()
	for _, way := range []string{refusing, status500, cutStream, inStreamError} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			u := newFailingUpstream(20 * time.Millisecond)
			upstream := newServer(t, u)
			transport := newTransport(t, proxy.TransportConfig{})
			h, g, seen := behindBreaker(t, breaker.Settings{Consecutive: 10, Sleep: 200 * time.Millisecond, Step: 100 * time.Millisecond}, way == inStreamError, transport, upstream.URL)
			gateway := newServer(t, h)
			client := gateway.Client()
			ask := func() {
				res, err := client.Post(gateway.URL+"/v1/chat/completions", "application/json", strings.NewReader(`{"model":"m","stream":true}`))
				if err == nil {
					_, _ = io.Copy(io.Discard, res.Body)
					_ = res.Body.Close()
				}
			}
			atSteadyRate(500*time.Millisecond, ask)()
			require.Empty(t, seen.reasons(), "healthy")
			u.mode.Store(way)
			u.calls.Store(0)
			begin := time.Now()
			wait := atSteadyRate(time.Second, ask)
			opened := seen.first(breaker.Open)
			require.False(t, opened.IsZero(), "it opens within a second")
			t.Logf("opened %v after the first failure, %d came to the upstream in a second", opened.Sub(begin), u.calls.Load())
			assert.LessOrEqual(t, u.calls.Load(), int64(60))
			wait()
			u.mode.Store(healthy)
			require.Eventually(t, func() bool { atSteadyRate(100*time.Millisecond, ask)(); return g.Status()[0].State == breaker.Closed }, 30*time.Second, time.Millisecond)
		})
	}
}

// A server that no longer listens opens the circuit.
func TestOutageConnectionRefused(t *testing.T) {
	u := newFailingUpstream(time.Millisecond)
	upstream := newServer(t, u)
	transport := newTransport(t, proxy.TransportConfig{})
	h, _, seen := behindBreaker(t, breaker.Settings{}, false, transport, upstream.URL)
	ask := func() { ignoringAborts(h)() }
	atSteadyRate(200*time.Millisecond, ask)()
	require.Empty(t, seen.reasons())
	upstream.Close()
	begin := time.Now()
	atSteadyRate(time.Second, ask)()
	opened := seen.first(breaker.Open)
	require.False(t, opened.IsZero())
	t.Logf("opened %v after the server had gone", opened.Sub(begin))
	assert.LessOrEqual(t, opened.Sub(begin), time.Second)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, chatRequest())
	assert.Equal(t, http.StatusServiceUnavailable, w.Code)
	assert.NotEmpty(t, w.Header().Get("Retry-After"))
}
