package balance_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"

	"github.com/ginfer/ginfer/balance"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// servers starts n HTTP servers, and returns them as endpoints that are named by their index.
func servers(t *testing.T, n int, handler func(server int) http.HandlerFunc) []balance.Endpoint {
	t.Helper()
	list := make([]balance.Endpoint, n)
	for i := range list {
		s := httptest.NewServer(handler(i))
		t.Cleanup(s.Close)
		list[i] = balance.Endpoint{Name: strconv.Itoa(i), URL: s.URL}
	}
	return list
}

// httpPool is a pool over real connections, which end with the test.
func httpPool(t *testing.T, cfg balance.Config) *balance.Pool {
	t.Helper()
	p, err := balance.New(cfg)
	require.NoError(t, err)
	t.Cleanup(p.CloseIdleConnections)
	return p
}

// each runs f for the clients 0 to n-1 at once.
func each(n int, f func(client int)) {
	var clients sync.WaitGroup
	for i := range n {
		clients.Go(func() { f(i) })
	}
	clients.Wait()
}

// With five healthy servers no key leaves its server, however many clients there are.
func TestKeysStayOverHTTP(t *testing.T) {
	t.Parallel()
	for name, a := range algorithms {
		for _, clients := range []int{1, 2, 4, 8, 16, 32, 64} {
			t.Run(fmt.Sprintf("%s %d", name, clients), func(t *testing.T) {
				t.Parallel()
				p := httpPool(t, balance.Config{Policy: balance.Hash(balance.HashConfig{Key: balance.ByHeader("X-Key"), Algorithm: a}), Endpoints: servers(t, 5, func(i int) http.HandlerFunc {
					return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, strconv.Itoa(i)) }
				})})
				each(clients, func(client int) {
					homes, err := homes(p, request(t, fmt.Sprint("user ", client)))
					if err != nil {
						t.Error(err)
					}
					assert.Len(t, homes, 1)
				})
			})
		}
	}
}

// homes returns the servers of 20 requests.
func homes(p *balance.Pool, req *http.Request) (map[string]bool, error) {
	out := map[string]bool{}
	for range 20 {
		res, err := p.RoundTrip(req)
		if err != nil {
			return nil, err
		}
		body, err := io.ReadAll(res.Body)
		if err := errors.Join(err, res.Body.Close()); err != nil {
			return nil, err
		}
		out[string(body)] = true
	}
	return out, nil
}
