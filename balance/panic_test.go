package balance_test

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/balance"
	"github.com/stretchr/testify/require"
)

// TestPanicThreshold makes a number of ten endpoints unhealthy and counts those that serve.
func TestPanicThreshold(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		threshold         float64
		unhealthy, served int
		panics            bool
	}{
		"none":                       {0, 0, 10, false},
		"half is not too many":       {0, 5, 5, false},
		"more than half":             {0, 6, 10, true},
		"all":                        {0, 10, 10, true},
		"off":                        {-1, 9, 1, false},
		"a fifth must do: two do":    {0.2, 8, 2, false},
		"a fifth must do: one won't": {0.2, 9, 10, true},
		"all must be healthy":        {1, 1, 10, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log events
			p := newPool(t, balance.Config{Endpoints: endpoints(10), Transport: named(fine), PanicThreshold: tt.threshold, OnEvent: log.on, Policy: balance.RoundRobin(), Health: unhealthyUpTo(tt.unhealthy)})
			checkOnce(t, p)
			got := map[string]bool{}
			for range 40 {
				host, err := send(t, p, request(t, ""))
				require.NoError(t, err)
				got[host] = true
			}
			require.Len(t, got, tt.served)
			require.Equal(t, tt.panics, contains(log.all(), "panic_entered"))
		})
	}
}

func TestPanicIsLeft(t *testing.T) {
	t.Parallel()
	var log events
	p := newPool(t, balance.Config{Endpoints: endpoints(3), OnEvent: log.on, Health: unhealthyUpTo(2)})
	checkOnce(t, p)
	_, err := send(t, p, request(t, ""))
	require.NoError(t, err)
	require.NoError(t, p.Remove("e00"))
	_, err = send(t, p, request(t, ""))
	require.NoError(t, err)
	require.Equal(t, []string{"unhealthy e00", "unhealthy e01", "panic_entered", "removed e00", "panic_left"}, sortedPrefix(log.all(), 2))
}

func TestEvenInAPanicADrainingEndpointIsLeftAlone(t *testing.T) {
	t.Parallel()
	p := newPool(t, balance.Config{Endpoints: endpoints(2), Transport: named(fine), Health: unhealthyUpTo(2)})
	checkOnce(t, p)
	require.NoError(t, p.Drain("e00"))
	for range 10 {
		host, err := send(t, p, request(t, ""))
		require.NoError(t, err)
		require.Equal(t, "e01", host)
	}
}

// TestNoEndpoint: closed, with an error for that.
func TestNoEndpoint(t *testing.T) {
	t.Parallel()
	tests := map[string]func(*testing.T) *balance.Pool{
		"no endpoint": func(t *testing.T) *balance.Pool { t.Helper(); return newPool(t, balance.Config{}) },
		"all drained": func(t *testing.T) *balance.Pool {
			t.Helper()
			p := newPool(t, balance.Config{Endpoints: endpoints(1)})
			require.NoError(t, p.Drain("e00"))
			return p
		},
		"all unhealthy, no panic": func(t *testing.T) *balance.Pool {
			t.Helper()
			p := newPool(t, balance.Config{Endpoints: endpoints(2), Health: unhealthyUpTo(2), PanicThreshold: -1})
			checkOnce(t, p)
			return p
		},
	}
	for name, pool := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body := &watched{}
			req := request(t, "")
			req.Body = body
			_, err := send(t, pool(t), req)
			require.ErrorIs(t, err, balance.ErrNoEndpoint)
			var e *apierror.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, http.StatusServiceUnavailable, e.Status)
			require.Equal(t, "no_endpoint", e.Code)
			require.EqualValues(t, 1, body.closed.Load(), "a RoundTripper closes the request's body")
		})
	}
}

// unhealthyUpTo makes the first n endpoints fail their check.
func unhealthyUpTo(n int) balance.Health {
	unhealthy := map[string]bool{}
	for _, e := range endpoints(n) {
		unhealthy[e.Name] = true
	}
	return balance.Health{Check: func(_ context.Context, e balance.Endpoint) error {
		if unhealthy[e.Name] {
			return errors.New("unhealthy")
		}
		return nil
	}}
}
