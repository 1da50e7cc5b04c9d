package balance_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/balance"
	"github.com/stretchr/testify/require"
)

func TestRoundRobinIsSmooth(t *testing.T) {
	list := []balance.Endpoint{{Name: "a", URL: "http://a.test", Weight: 5}, {Name: "b", URL: "http://b.test"}, {Name: "c", URL: "http://c.test"}}
	p := newPool(t, balance.Config{Endpoints: list, Policy: balance.RoundRobin(), Transport: named(fine)})
	var got []string
	for range 14 {
		host, err := send(t, p, request(t, ""))
		require.NoError(t, err)
		got = append(got, host)
	}
	require.Equal(t, "aabacaaaabacaa", strings.Join(got, ""))
}

func TestLeastRequestPrefersTheIdle(t *testing.T) {
	p := newPool(t, balance.Config{Endpoints: endpoints(3), Transport: named(fine)})
	open := map[string]int{}
	for range 9 {
		res, err := p.RoundTrip(request(t, ""))
		require.NoError(t, err)
		t.Cleanup(func() { _ = res.Body.Close() })
		open[res.Header.Get("X-Host")]++
	}
	require.Equal(t, map[string]int{"e00": 3, "e01": 3, "e02": 3}, open)
}

func TestLeastRequestSpreadsTies(t *testing.T) {
	for _, n := range []int{4, 100, 300} {
		p := newPool(t, balance.Config{Endpoints: endpoints(n), Transport: named(fine)})
		got := map[string]int{}
		for range 200 * n {
			host, err := send(t, p, request(t, ""))
			require.NoError(t, err)
			got[host]++
		}
		require.Len(t, got, n)
		for host, count := range got {
			require.InDelta(t, 200, count, 80, host)
		}
	}
}

func TestLeastRequestHonoursWeights(t *testing.T) {
	list := endpoints(2)
	list[0].Weight = 3
	p := newPool(t, balance.Config{Endpoints: list, Transport: named(fine)})
	open := map[string]int{}
	for range 40 {
		res, err := p.RoundTrip(request(t, ""))
		require.NoError(t, err)
		t.Cleanup(func() { _ = res.Body.Close() })
		open[res.Header.Get("X-Host")]++
	}
	require.InDelta(t, 30, open["e00"], 1)
}

// TestBlackHole: one of 16 endpoints fails instantly, half of the time, and must not attract
// traffic.
func TestBlackHole(t *testing.T) {
	for _, ejection := range []bool{false, true} {
		t.Run(fmt.Sprintf("ejection %v", ejection), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { blackHole(t, ejection) })
		})
	}
}

func blackHole(t *testing.T, ejection bool) {
	t.Helper()
	begin := time.Now()
	broken := func() bool { return int(time.Since(begin)/time.Minute)%2 == 1 }
	cfg := balance.Config{Endpoints: endpoints(16), Transport: transport(func(req *http.Request) (*http.Response, error) {
		if req.URL.Hostname() == "e05.test" && broken() {
			return nil, errRefused
		}
		timer := time.NewTimer(time.Duration(rand.ExpFloat64() * float64(500*time.Millisecond)))
		defer timer.Stop()
		<-timer.C
		return response(200, "ok"), nil
	})}
	if !ejection {
		cfg.Outlier.MaxEjected = -1
	}
	p := newPool(t, cfg)
	const total = 24000 // 100 per second, for four minutes
	failed := make(chan bool, total)
	for range total {
		<-time.After(10 * time.Millisecond) // in the bubble's time
		req := request(t, "")
		go func() {
			_, err := send(t, p, req)
			failed <- err != nil
		}()
	}
	synctest.Wait()
	<-time.After(time.Minute)
	lost := 0
	for range total {
		if <-failed {
			lost++
		}
	}
	t.Logf("lost %d of %d: %.3f %%", lost, total, 100*float64(lost)/total)
	require.LessOrEqual(t, float64(lost)/total, 0.005)
}

// assign returns the endpoint that serves each of n keys.
func assign(tb testing.TB, p *balance.Pool, n int) map[string]string {
	tb.Helper()
	got := make(map[string]string, n)
	req := request(tb, "")
	for i := range n {
		key := "user-" + strconv.Itoa(i)
		req.Header.Set("X-Key", key)
		got[key] = balance.Pick(p, req)
	}
	return got
}

func hashPool(tb testing.TB, a balance.Algorithm, n int) *balance.Pool {
	tb.Helper()
	return newPool(tb, balance.Config{Endpoints: endpoints(n), Transport: named(fine), Policy: balance.Hash(balance.HashConfig{Key: balance.ByHeader("X-Key"), Algorithm: a})})
}

var algorithms = map[string]balance.Algorithm{"ring": balance.Ring, "rendezvous": balance.Rendezvous, "maglev": balance.Maglev}

func TestHashIsEven(t *testing.T) {
	for name, a := range algorithms {
		t.Run(name, func(t *testing.T) {
			load := map[string]float64{}
			for _, host := range assign(t, hashPool(t, a, 5), 5000) {
				load[host]++
			}
			most := 0.0
			for _, n := range load {
				most = max(most, n)
			}
			t.Logf("max/mean %.3f", most/1000)
			require.LessOrEqual(t, most/1000, 1.08)
		})
	}
}

func TestHashMovesFewKeysOnAddition(t *testing.T) {
	const keys = 20000
	for name, a := range algorithms {
		for _, n := range []int{5, 10, 20} {
			t.Run(fmt.Sprintf("%s %d", name, n), func(t *testing.T) {
				p := hashPool(t, a, n-1)
				before := assign(t, p, keys)
				require.NoError(t, p.Add(endpoints(n)[n-1]))
				moved, astray := movedKeys(before, assign(t, p, keys), fmt.Sprintf("e%02d", n-1))
				t.Logf("moved %.4f, ideal %.4f, between others %.4f", float64(moved)/keys, 1/float64(n), float64(astray)/keys)
				require.LessOrEqual(t, float64(moved)/keys, 1.1/float64(n))
				if a != balance.Maglev {
					require.Zero(t, astray, "keys move only to the new endpoint")
				}
			})
		}
	}
}

// movedKeys counts keys that moved, and those that did not move to the new endpoint.
func movedKeys(before, after map[string]string, added string) (moved, astray int) {
	for key, host := range after {
		if host == before[key] {
			continue
		}
		moved++
		if host != added {
			astray++
		}
	}
	return moved, astray
}

func TestHashMovesOnlyTheKeysOfARemovedEndpoint(t *testing.T) {
	const keys = 20000
	for name, a := range algorithms {
		t.Run(name, func(t *testing.T) {
			p := hashPool(t, a, 10)
			before := assign(t, p, keys)
			require.NoError(t, p.Remove("e04"))
			astray := 0
			for key, host := range assign(t, p, keys) {
				if before[key] != "e04" && host != before[key] {
					astray++
				}
			}
			share := float64(astray) / keys
			t.Logf("keys of others that moved: %.4f", share)
			if a == balance.Maglev {
				require.LessOrEqual(t, share, 0.03)
			} else {
				require.Zero(t, astray)
			}
		})
	}
}

func TestHashDoesNotDependOnTheOrderOfEndpoints(t *testing.T) {
	for name, a := range algorithms {
		t.Run(name, func(t *testing.T) {
			list := endpoints(7)
			reversed := make([]balance.Endpoint, 0, len(list))
			for i := range list {
				reversed = append(reversed, list[len(list)-1-i])
			}
			policy := balance.Hash(balance.HashConfig{Key: balance.ByHeader("X-Key"), Algorithm: a})
			one := newPool(t, balance.Config{Endpoints: list, Transport: named(fine), Policy: policy})
			two := newPool(t, balance.Config{Endpoints: reversed, Transport: named(fine), Policy: policy})
			require.Equal(t, assign(t, one, 2000), assign(t, two, 2000))
		})
	}
}

func TestHashHonoursWeights(t *testing.T) {
	for name, a := range algorithms {
		t.Run(name, func(t *testing.T) {
			list := endpoints(3)
			list[0].Weight = 2
			p := newPool(t, balance.Config{Endpoints: list, Transport: named(fine), Policy: balance.Hash(balance.HashConfig{Key: balance.ByHeader("X-Key"), Algorithm: a})})
			load := map[string]float64{}
			for _, host := range assign(t, p, 20000) {
				load[host]++
			}
			require.InEpsilon(t, 10000, load["e00"], 0.08)
			require.InEpsilon(t, 5000, load["e01"], 0.08)
		})
	}
}

func TestHashBoundsLoad(t *testing.T) {
	for name, a := range algorithms {
		t.Run(name, func(t *testing.T) {
			p := newPool(t, balance.Config{Endpoints: endpoints(20), Transport: named(fine), Policy: balance.Hash(balance.HashConfig{Key: balance.ByHeader("X-Key"), Algorithm: a, LoadBound: 1.25})})
			zipf := rand.NewZipf(rand.New(rand.NewPCG(1, 2)), 1.1, 1, 1000)
			for range 2000 {
				res, err := p.RoundTrip(request(t, strconv.FormatUint(zipf.Uint64(), 10)))
				require.NoError(t, err)
				t.Cleanup(func() { _ = res.Body.Close() })
			}
			for _, s := range p.Status() {
				require.LessOrEqual(t, s.Inflight, int64(math.Ceil(1.25*2000/20))+3, s.Name)
			}
		})
	}
}

func TestHashKeys(t *testing.T) {
	type ctxKey struct{}
	req := request(t, "h")
	req = req.WithContext(context.WithValue(req.Context(), ctxKey{}, "alice"))
	byContext := balance.ByContext(func(ctx context.Context) (string, bool) {
		v, ok := ctx.Value(ctxKey{}).(string)
		return v, ok
	})
	v, ok := byContext(req)
	require.True(t, ok)
	require.Equal(t, "alice", v)
	v, ok = balance.ByHeader("x-key")(req)
	require.True(t, ok)
	require.Equal(t, "h", v)
	_, ok = balance.ByHeader("X-None")(req)
	require.False(t, ok)
	_, ok = balance.ByBody("user")(req)
	require.False(t, ok)
}

func TestARequestWithoutKeyIsServed(t *testing.T) {
	_, err := send(t, hashPool(t, balance.Ring, 3), request(t, ""))
	require.NoError(t, err)
}

func BenchmarkRoundTrip(b *testing.B) {
	header := http.Header{}
	p := newPool(b, balance.Config{Endpoints: endpoints(16), Transport: transport(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Header: header, Body: http.NoBody}, nil
	})})
	req := request(b, "")
	b.ReportAllocs()
	for b.Loop() {
		r, err := p.RoundTrip(req)
		if err != nil {
			b.Fatal(err)
		}
		_ = r.Body.Close()
	}
}
