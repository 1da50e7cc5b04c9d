package balance_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/balance"
	bodies "github.com/ginfer/ginfer/internal/body"
	"github.com/stretchr/testify/require"
)

type userKey struct{}

// TestKeyAffinity: the key decides, whatever its source.
func TestKeyAffinity(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		key balance.Key
		put func(*http.Request, string) *http.Request
	}{
		"header": {balance.ByHeader("x-session"), func(r *http.Request, v string) *http.Request {
			r.Header.Set("X-Session", v)
			return r
		}},
		"context": {balance.ByContext(func(ctx context.Context) (string, bool) {
			v, ok := ctx.Value(userKey{}).(string)
			return v, ok
		}), func(r *http.Request, v string) *http.Request {
			return r.WithContext(context.WithValue(r.Context(), userKey{}, v))
		}},
		"body": {balance.ByBody("user"), func(r *http.Request, v string) *http.Request {
			bodies.Set(r, fmt.Appendf(nil, `{"model":"m","user":%q,"messages":[]}`, v))
			return r
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, a := range algorithms {
				p := newPool(t, balance.Config{Endpoints: endpoints(8), Transport: named(fine), Policy: balance.Hash(balance.HashConfig{Key: tt.key, Algorithm: a, VirtualNodes: 64})})
				all := map[string]bool{}
				for user := range 50 {
					hosts := map[string]bool{}
					for range 3 {
						host, err := send(t, p, tt.put(request(t, ""), fmt.Sprint("user", user)))
						require.NoError(t, err)
						hosts[host], all[host] = true, true
					}
					require.Len(t, hosts, 1)
				}
				require.Len(t, all, 8)
			}
		})
	}
}

func TestByBody(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		body, want string
	}{
		"there":        {`{"user":"alice"}`, "alice"},
		"escaped":      {`{"user":"\u0061lice"}`, "alice"},
		"not there":    {`{"model":"m"}`, ""},
		"empty":        {`{"user":""}`, ""},
		"no string":    {`{"user":7}`, ""},
		"nested":       {`{"meta":{"user":"alice"}}`, ""},
		"no JSON":      {`user=alice`, ""},
		"nothing":      {``, ""},
		"not an array": {`["user"]`, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req := request(t, "")
			bodies.Set(req, []byte(tt.body))
			got, ok := balance.ByBody("user")(req)
			require.Equal(t, tt.want != "", ok)
			if ok {
				require.Equal(t, tt.want, got)
			}
			if req.Body == nil {
				return
			}
			left, err := io.ReadAll(req.Body)
			require.NoError(t, err)
			require.Equal(t, tt.body, string(left), "the body is unchanged")
		})
	}
}

// TestABodyThatIsNotHeld: it has no key, and is not read for one.
func TestABodyThatIsNotHeld(t *testing.T) {
	t.Parallel()
	req := request(t, "")
	body := &watched{Reader: strings.NewReader(`{"user":"alice"}`)}
	req.Body = body
	_, ok := balance.ByBody("user")(req)
	require.False(t, ok)
	left, err := io.ReadAll(body)
	require.NoError(t, err)
	require.Len(t, left, 16)
}

// TestWithoutKeyTheLoadDecides: such requests go to the least loaded endpoint.
func TestWithoutKeyTheLoadDecides(t *testing.T) {
	t.Parallel()
	for name, a := range algorithms {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := hashPool(t, a, 4)
			open := map[string]int{}
			for range 12 {
				res, err := p.RoundTrip(request(t, ""))
				require.NoError(t, err)
				t.Cleanup(func() { _ = res.Body.Close() })
				open[res.Header.Get("X-Host")]++
			}
			require.Equal(t, map[string]int{"e00": 3, "e01": 3, "e02": 3, "e03": 3}, open)
		})
	}
}

// TestLoadBound: without a bound a key's streams stay together; with one they stay together up
// to ⌈bound · mean⌉ + 3, then overflow.
func TestLoadBound(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		bound float64
		most  int
	}{"default": {0, 40}, "1.25": {1.25, 16}, "two": {2, 23}, "none": {-1, 40}}
	for name, tt := range tests {
		for algorithm, a := range algorithms {
			t.Run(name+" "+algorithm, func(t *testing.T) {
				t.Parallel()
				p := newPool(t, balance.Config{Endpoints: endpoints(4), Policy: balance.Hash(balance.HashConfig{Key: balance.ByHeader("X-Key"), Algorithm: a, LoadBound: tt.bound})})
				for range 40 {
					res, err := p.RoundTrip(request(t, "one"))
					require.NoError(t, err)
					t.Cleanup(func() { _ = res.Body.Close() })
				}
				most := int64(0)
				for _, s := range p.Status() {
					most = max(most, s.Inflight)
				}
				require.EqualValues(t, tt.most, most)
			})
		}
	}
}

// TestLowLoadMovesNoKey: up to the floor the bound does not act, whatever the keys.
func TestLowLoadMovesNoKey(t *testing.T) {
	t.Parallel()
	for name, bound := range map[string]float64{"default": 0, "1.01": 1.01, "1.25": 1.25} {
		for algorithm, a := range algorithms {
			t.Run(name+" "+algorithm, func(t *testing.T) {
				t.Parallel()
				policy := balance.Hash(balance.HashConfig{Key: balance.ByHeader("X-Key"), Algorithm: a, LoadBound: bound})
				home := assign(t, newPool(t, balance.Config{Endpoints: endpoints(5), Transport: named(fine), Policy: policy}), 200)
				for i := range 50 {
					p := newPool(t, balance.Config{Endpoints: endpoints(5), Transport: named(fine), Policy: policy})
					for j := range 4 {
						key := fmt.Sprint("user-", 4*i+j)
						res, err := p.RoundTrip(request(t, key))
						require.NoError(t, err)
						t.Cleanup(func() { _ = res.Body.Close() })
						require.Equal(t, home[key], res.Header.Get("X-Host"))
					}
				}
			})
		}
	}
}

// TestSlowStartOfKeys: a new endpoint gets a growing part of its keys, and each key moves once.
func TestSlowStartOfKeys(t *testing.T) {
	t.Parallel()
	for name, a := range algorithms {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newPool(t, balance.Config{Endpoints: endpoints(4), SlowStart: balance.SlowStart{Window: 10 * time.Second}, Transport: named(fine), Policy: balance.Hash(balance.HashConfig{Key: balance.ByHeader("X-Key"), Algorithm: a})})
				require.NoError(t, p.Add(endpoints(5)[4]))
				before := map[string]bool{}
				for _, want := range []float64{.1, .5, 1} {
					moved := map[string]bool{}
					for key, host := range assign(t, p, 5000) {
						moved[key] = host == "e04"
						require.True(t, moved[key] || !before[key], "a key that moved stays")
					}
					maps.DeleteFunc(moved, func(_ string, here bool) bool { return !here })
					require.InDelta(t, want, float64(len(moved))/1000, .1*want+.02)
					before = moved
					advance(5 * time.Second)
				}
			})
		})
	}
}

// TestSeed: another seed, another assignment.
func TestSeed(t *testing.T) {
	t.Parallel()
	for name, a := range algorithms {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := func(seed uint64) *balance.Pool {
				return newPool(t, balance.Config{Endpoints: endpoints(5), Transport: named(fine), Policy: balance.Hash(balance.HashConfig{Key: balance.ByHeader("X-Key"), Algorithm: a, Seed: seed})})
			}
			one, again, two := assign(t, pool(1), 100), assign(t, pool(1), 100), assign(t, pool(2), 100)
			require.Equal(t, one, again)
			require.NotEqual(t, one, two)
		})
	}
}
