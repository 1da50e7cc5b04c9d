package balance_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ginfer/ginfer/balance"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The default transport keeps what http.DefaultTransport sets.
func TestNoDefaultIsLost(t *testing.T) {
	t.Parallel()
	want := reflect.ValueOf(http.DefaultTransport).Elem()
	got := reflect.ValueOf(balance.DefaultTransport()).Elem()
	for _, field := range reflect.VisibleFields(want.Type()) {
		if field.IsExported() && !want.FieldByIndex(field.Index).IsZero() && field.Name != "MaxIdleConns" { // bounded per endpoint
			assert.False(t, got.FieldByIndex(field.Index).IsZero(), field.Name)
		}
	}
}

// A server that closes connections as they are reused fails no request of a pool, and is not
// ejected.
func TestReusedConnections(t *testing.T) {
	t.Parallel()
	type nth struct{}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.Context().Value(nth{}).(*atomic.Int64).Add(1)%2 == 0 {
			panic(http.ErrAbortHandler)
		}
	}))
	s.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
		return context.WithValue(ctx, nth{}, new(atomic.Int64))
	}
	s.Start()
	t.Cleanup(s.Close)
	pool, err := balance.New(balance.Config{Endpoints: []balance.Endpoint{{URL: s.URL}}})
	require.NoError(t, err)
	client := &http.Client{Transport: pool}
	t.Cleanup(client.CloseIdleConnections)
	for range 100 {
		res, err := client.Post("http://model/", "application/json", strings.NewReader("{}"))
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
	}
	assert.Zero(t, pool.Status()[0].Inflight)
}
