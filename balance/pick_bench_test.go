package balance_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/ginfer/ginfer/balance"
	"github.com/stretchr/testify/require"
)

func pickPolicies() map[string]balance.Policy {
	return map[string]balance.Policy{
		"least_request": balance.LeastRequest(), "cadence": balance.TokenRate(), "round_robin": balance.RoundRobin(),
		"ring":       balance.Hash(balance.HashConfig{Key: balance.ByHeader("X-Key")}),
		"rendezvous": balance.Hash(balance.HashConfig{Key: balance.ByHeader("X-Key"), Algorithm: balance.Rendezvous}),
		"maglev":     balance.Hash(balance.HashConfig{Key: balance.ByHeader("X-Key"), Algorithm: balance.Maglev}),
	}
}

func BenchmarkPick(b *testing.B) {
	for name, policy := range pickPolicies() {
		for _, n := range []int{16, 64, 256} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				p := newPool(b, balance.Config{Endpoints: endpoints(n), Policy: policy})
				req := request(b, "somebody")
				b.ReportAllocs()
				for b.Loop() {
					balance.Pick(p, req)
				}
			})
		}
	}
}

// BenchmarkPickBusy is the worse case: 16 endpoints of different weights with streams in
// progress, one of which has failed lately, so that the clock and e^x are needed, and
// logarithms for rendezvous.
func BenchmarkPickBusy(b *testing.B) {
	for name, policy := range pickPolicies() {
		b.Run(name, func(b *testing.B) {
			p := busyPool(b, policy)
			req := request(b, "somebody")
			b.ReportAllocs()
			for b.Loop() {
				balance.Pick(p, req)
			}
		})
	}
}

func busyPool(b *testing.B, policy balance.Policy) *balance.Pool {
	b.Helper()
	list := endpoints(16)
	for i := range list {
		list[i].Weight = 1 + i%4
	}
	next := failing(errRefused)
	p := newPool(b, balance.Config{Endpoints: list, Policy: policy, Transport: transport(func(req *http.Request) (*http.Response, error) { return next(req) })})
	_, err := send(b, p, request(b, "user"))
	require.Error(b, err)
	next = fine
	for i := range 100 {
		res, err := p.RoundTrip(request(b, fmt.Sprint("user", i)))
		require.NoError(b, err)
		b.Cleanup(func() { _ = res.Body.Close() })
	}
	return p
}

// BenchmarkStream reads streams of 1,000 events through a pool.
func BenchmarkStream(b *testing.B) {
	for name, policy := range map[string]balance.Policy{"least_request": balance.LeastRequest(), "cadence": balance.TokenRate()} {
		b.Run(name, func(b *testing.B) {
			p := newPool(b, balance.Config{Endpoints: endpoints(4), Policy: policy, Transport: transport(func(*http.Request) (*http.Response, error) {
				res := response(http.StatusOK, "")
				res.Header.Set("Content-Type", "text/event-stream")
				res.Body = &ready{left: 1000}
				return res, nil
			})})
			req, buf := request(b, ""), make([]byte, 512)
			b.ReportAllocs()
			for b.Loop() {
				res, err := p.RoundTrip(req)
				require.NoError(b, err)
				for err == nil {
					_, err = res.Body.Read(buf)
				}
				require.NoError(b, res.Body.Close())
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/read")
		})
	}
}

// ready is a stream with all events available.
type ready struct{ left int }

func (r *ready) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	r.left--
	return copy(p, tokenEvent), nil
}

func (*ready) Close() error { return nil }
