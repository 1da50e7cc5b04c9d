package e2e_test

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ginfer/ginfer/balance"
	"github.com/ginfer/ginfer/breaker"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A server's health checks succeed while its requests fail: the checks pass the circuit's
// transport, and are no reason to keep it closed.
func TestHealthChecksKeepNoCircuitClosed(t *testing.T) {
	t.Parallel()
	var checks atomic.Int64
	upstream := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/health" {
			checks.Add(1)
			return
		}
		w.WriteHeader(http.StatusInternalServerError)
	}))
	group, err := breaker.New(breaker.Config{})
	require.NoError(t, err)
	t.Cleanup(group.Close)
	pool, err := balance.New(balance.Config{
		Endpoints: []balance.Endpoint{{URL: upstream.URL}}, Transport: group.Transport(http.DefaultTransport),
		Health: balance.Health{Interval: 5 * time.Millisecond}, Outlier: balance.Outlier{Consecutive: -1},
	})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- pool.Run(ctx) }()
	t.Cleanup(func() { stop(); require.NoError(t, <-ended) })
	require.Eventually(t, func() bool { return checks.Load() >= 20 }, 10*time.Second, time.Millisecond)
	for range 20 {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://pool/v1/chat/completions", nil)
		require.NoError(t, err)
		if res, err := pool.RoundTrip(req); err == nil {
			require.NoError(t, res.Body.Close())
		}
	}
	require.Eventually(t, func() bool { return isOpen(group) }, 5*time.Second, 5*time.Millisecond)
	assert.Empty(t, group.Status()[0].Routes, "the endpoint's, not a route's")
}
