package balance_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/balance"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/stretchr/testify/require"
)

func allPolicies() map[string]balance.Policy {
	byKey := func(a balance.Algorithm) balance.Policy {
		return balance.Hash(balance.HashConfig{Key: balance.ByHeader("X-Key"), Algorithm: a, VirtualNodes: 64})
	}
	return map[string]balance.Policy{
		"least request": balance.LeastRequest(), "round robin": balance.RoundRobin(),
		"ring": byKey(balance.Ring), "rendezvous": byKey(balance.Rendezvous), "maglev": byKey(balance.Maglev),
	}
}

// next makes the next attempt of an exchange.
func next(t *testing.T, p *balance.Pool, x *exchange.Exchange, key string) *exchange.Attempt {
	t.Helper()
	one, req := x.Begin(request(t, key))
	host, err := send(t, p, req)
	require.NoError(t, err)
	require.Equal(t, host, one.Endpoint())
	return one
}

// TestAttemptsGoToDifferentEndpoints: as long as there are some; then to any.
func TestAttemptsGoToDifferentEndpoints(t *testing.T) {
	t.Parallel()
	for name, policy := range allPolicies() {
		for _, n := range []int{1, 2, 5, 70} { // 70: least request draws
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				p := newPool(t, balance.Config{Endpoints: endpoints(n), Transport: named(fine), Policy: policy})
				for _, key := range []string{"a", "b", "c", ""} {
					var x exchange.Exchange
					used := map[string]bool{}
					for number := 1; number <= n; number++ {
						one := next(t, p, &x, key)
						require.False(t, used[one.Endpoint()], "attempt %d of %d again at %s", number, n, one.Endpoint())
						used[one.Endpoint()] = true
						require.Equal(t, n-number, one.Others())
					}
					require.Zero(t, next(t, p, &x, key).Others(), "all were used: any is possible")
				}
			})
		}
	}
}

// TestOthersAreUsable: unhealthy, cooling and draining endpoints don't count as others.
func TestOthersAreUsable(t *testing.T) {
	t.Parallel()
	p := newPool(t, balance.Config{Endpoints: endpoints(5), Transport: named(fine), Health: unhealthyUpTo(1)})
	checkOnce(t, p)
	require.NoError(t, p.Drain("e04"))
	var x exchange.Exchange
	require.Equal(t, 2, next(t, p, &x, "").Others())
	require.Equal(t, 1, next(t, p, &x, "").Others())
	require.Equal(t, 0, next(t, p, &x, "").Others())
	again := next(t, p, &x, "")
	require.NotContains(t, []string{"e00", "e04"}, again.Endpoint())
}

// TestAnotherExchangeIsNotConcerned: the used endpoints are those of one exchange.
func TestAnotherExchangeIsNotConcerned(t *testing.T) {
	t.Parallel()
	for name, policy := range allPolicies() {
		if name == "least request" || name == "round robin" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPool(t, balance.Config{Endpoints: endpoints(7), Transport: named(fine), Policy: policy})
			var one, two exchange.Exchange
			for range 7 {
				a, b := next(t, p, &one, "k"), next(t, p, &two, "k")
				require.Equal(t, a.Endpoint(), b.Endpoint(), "a key has an order of endpoints, not only a first one")
			}
		})
	}
}

// TestARequestThatNoProxyMade: it has one attempt, and may go to the same endpoint again.
func TestARequestThatNoProxyMade(t *testing.T) {
	t.Parallel()
	p := newPool(t, balance.Config{Endpoints: endpoints(3), Transport: named(fine), Policy: balance.Hash(balance.HashConfig{Key: balance.ByHeader("X-Key")})})
	req := request(t, "k")
	first, err := send(t, p, req)
	require.NoError(t, err)
	for range 5 {
		host, err := send(t, p, req)
		require.NoError(t, err)
		require.Equal(t, first, host)
	}
}

// TestRefusedBelow: an endpoint to which nothing was sent is avoided for its cooldown, and has
// not failed.
func TestRefusedBelow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		called := 0
		p := newPool(t, balance.Config{Endpoints: endpoints(2), Policy: balance.RoundRobin(), Transport: named(func(req *http.Request) (*http.Response, error) {
			if req.URL.Hostname() == "e00.test" {
				called++
				return nil, &exchange.NotSentError{Cooldown: time.Second}
			}
			return fine(req)
		})})
		for range 20 {
			for range 20 {
				_, _ = send(t, p, request(t, ""))
			}
			time.Sleep(time.Second)
		}
		require.Equal(t, 20, called, "once a second")
		for _, s := range p.Status() {
			require.Zero(t, s.EjectedUntil)
			require.Zero(t, s.Inflight)
		}
	})
}

// TestCheckRefusedBelow: a check that did not reach the endpoint is no evidence.
func TestCheckRefusedBelow(t *testing.T) {
	t.Parallel()
	p := newPool(t, balance.Config{Endpoints: endpoints(1), Health: balance.Health{Path: "/health"}, Transport: named(func(req *http.Request) (*http.Response, error) {
		if req.URL.Path == "/health" {
			return nil, &exchange.NotSentError{}
		}
		return fine(req)
	})})
	for range 5 {
		checkOnce(t, p)
	}
	require.True(t, p.Status()[0].Healthy)
}
