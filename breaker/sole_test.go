package breaker_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/balance"
	"github.com/ginfer/ginfer/breaker"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sole is a pool of one endpoint behind a circuit.
func sole(t *testing.T, g *breaker.Group, u *upstream, endpoints ...string) http.RoundTripper {
	t.Helper()
	if len(endpoints) == 0 {
		endpoints = []string{"http://a.example"}
	}
	cfg := balance.Config{Transport: g.Transport(u), Policy: balance.RoundRobin(), Outlier: balance.Outlier{MaxEjected: -1}}
	for _, url := range endpoints {
		cfg.Endpoints = append(cfg.Endpoints, balance.Endpoint{URL: url})
	}
	p, err := balance.New(cfg)
	require.NoError(t, err)
	return p
}

// An only endpoint that was away for two seconds serves within one second of its return, and
// then every request.
func TestOnlyEndpointComesBackAtOnce(t *testing.T) {
	t.Parallel()
	for _, away := range []time.Duration{2 * time.Second, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			g, _ := group(t, breaker.Settings{})
			u := &upstream{respond: good}
			rt := sole(t, g, u)
			at40 := func(d time.Duration) (passed []bool) {
				for range int(d / (25 * time.Millisecond)) {
					code, _ := send(t.Context(), rt)
					passed = append(passed, code == http.StatusOK)
					time.Sleep(25 * time.Millisecond)
				}
				return passed
			}
			at40(time.Second)
			u.set(refused)
			at40(away)
			require.True(t, opensWith(t, g, func() { at40(time.Second) }))
			before := u.count()
			at40(5 * time.Second)
			assert.InDelta(t, 10, u.count()-before, 1, "a trickle")
			u.set(good)
			first := -1
			for i, ok := range at40(5 * time.Second) {
				if ok && first < 0 {
					first = i
				}
				assert.True(t, ok || first < 0, "nothing is refused after the first success")
			}
			assert.Less(t, first, 40, "within a second")
			assert.Equal(t, breaker.Closed, state(t, g).State)
		})
	}
}

// Ordinary errors during recovery do not keep an endpoint out.
func TestOrdinaryErrorsOnTheWayBack(t *testing.T) {
	t.Parallel()
	for _, pool := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			g, seen := group(t, own)
			u := &upstream{respond: refused}
			rt := g.Transport(u)
			if pool {
				rt = pooled{rt}
			}
			many(rt, 10)
			n := 0
			u.set(func(r *http.Request) (*http.Response, error) {
				if n++; n%20 == 1 { // the first one, too
					return bad(r)
				}
				return good(r)
			})
			time.Sleep(6 * time.Second)
			pour(rt, 20*time.Second)
			assert.Equal(t, []string{"consecutive", "slept", "recovered"}, seen.reasons())
		})
	}
}

// The trickle and the number of successes are settings.
func TestTrickleIsSet(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		trickle float64
		want    int
	}{"default": {0, 10}, "ten a second": {10, 50}, "off": {-1, 0}} {
		synctest.Test(t, func(t *testing.T) {
			g, _ := group(t, breaker.Settings{FailurePercent: -1, Consecutive: 10, Trickle: tt.trickle, Sleep: time.Minute})
			u := &upstream{respond: refused}
			rt := sole(t, g, u)
			many(rt, 20)
			before := u.count()
			for range 200 {
				many(rt, 1)
				time.Sleep(25 * time.Millisecond)
			}
			assert.InDelta(t, tt.want, u.count()-before, 1, name)
		})
	}
}

// Only requests without another endpoint are admitted: otherwise a circuit stays open.
func TestTrickleIsTheLastResort(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, _ := group(t, own)
		toA := 0
		u := &upstream{respond: func(r *http.Request) (*http.Response, error) {
			if r.URL.Host == "a.example" {
				toA++
				return refused(r)
			}
			return good(r)
		}}
		rt := sole(t, g, u, "http://a.example", "http://b.example")
		for range 200 {
			_, _ = send(t.Context(), rt)
		}
		assert.Equal(t, 10, toA)
		for range 100 {
			code, err := send(t.Context(), rt)
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, code)
			time.Sleep(30 * time.Millisecond)
		}
		assert.Equal(t, 10, toA)
	})
}

// A full circuit and one that is forced open have no last resort.
func TestNoLastResort(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, _ := group(t, own)
		u := &upstream{respond: good}
		rt := sole(t, g, u)
		many(rt, 1)
		require.NoError(t, g.Force("a.example", breaker.Open))
		for range 10 {
			_, err := send(t.Context(), rt)
			require.ErrorIs(t, err, breaker.ErrOpen)
			time.Sleep(time.Second)
		}
		assert.Equal(t, 1, u.count())
	})
}

// Without a ramp a few successes close, even if requests have another endpoint.
func TestRampIsSet(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		ramp []float64
		want int // of a hundred at once
	}{"default": {nil, 2}, "off": {[]float64{}, 100}, "half": {[]float64{0.5}, 51}} {
		synctest.Test(t, func(t *testing.T) {
			g, _ := group(t, breaker.Settings{FailurePercent: -1, Consecutive: 10, Ramp: tt.ramp})
			u := &upstream{respond: refused}
			rt := pooled{g.Transport(u)}
			many(rt, 10)
			u.set(good)
			time.Sleep(6 * time.Second)
			assert.Equal(t, tt.want, many(rt, 100), name)
		})
	}
	for _, ramp := range [][]float64{{0}, {-1}, {1.5}} {
		_, err := breaker.New(breaker.Config{Settings: breaker.Settings{Ramp: ramp}})
		require.Error(t, err)
	}
}

// A recovery without traffic ends by itself.
func TestWayBackEndsWithoutTraffic(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, seen := group(t, own)
		u := &upstream{respond: refused}
		rt := pooled{g.Transport(u)}
		many(rt, 10)
		u.set(good)
		time.Sleep(6 * time.Second)
		many(rt, 1)
		time.Sleep(time.Hour)
		many(rt, 1)
		time.Sleep(time.Hour)
		assert.Equal(t, 100, many(rt, 100))
		assert.Equal(t, "recovered", seen.reasons()[len(seen.reasons())-1])
	})
}

// A cooldown of one credential does not affect others; a pool handles it itself.
func TestRestIsOneCredentials(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, _ := group(t, own)
		u := &upstream{respond: respondWith(429, "application/json", "", "Retry-After", "7")} //nolint:bodyclose // trip closes it
		trip := func(rt http.RoundTripper, credential string) error {
			_, err := send(t.Context(), withCredential{rt, credential})
			return err
		}
		require.NoError(t, trip(g.Transport(u), "a"))
		require.ErrorIs(t, trip(g.Transport(u), "a"), breaker.ErrCoolingDown)
		require.NoError(t, trip(g.Transport(u), "b"))
		other, _ := group(t, own)
		for range 5 {
			require.NoError(t, trip(sole(t, other, u), "a"), "without another endpoint it passes")
		}
	})
}

type withCredential struct {
	http.RoundTripper
	credential string
}

func (w withCredential) RoundTrip(req *http.Request) (*http.Response, error) {
	req.Header.Set("Authorization", "Bearer "+w.credential)
	return w.RoundTripper.RoundTrip(req)
}
