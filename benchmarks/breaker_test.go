package benchmarks_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/failsafehttp"
	"github.com/ginfer/ginfer/breaker"
	"github.com/sony/gobreaker/v2"
	"github.com/stretchr/testify/require"
)

// answers is a transport that costs nothing.
type answers struct{ res http.Response }

func (a *answers) RoundTrip(*http.Request) (*http.Response, error) {
	res := a.res
	res.Body = io.NopCloser(http.NoBody)
	return &res, nil
}

// withGobreaker is how its users wrap a transport: it sees heads, not bodies.
type withGobreaker struct {
	next    http.RoundTripper
	breaker *gobreaker.CircuitBreaker[*http.Response]
}

var errStatus = errors.New("status 500 or above")

func (w *withGobreaker) RoundTrip(req *http.Request) (*http.Response, error) {
	return w.breaker.Execute(func() (*http.Response, error) {
		res, err := w.next.RoundTrip(req)
		if err == nil && res.StatusCode >= 500 {
			err = errStatus
		}
		return res, err
	})
}

// BenchmarkBreaker is an exchange through a closed circuit, over a transport that
// costs nothing. Ours also watches the body to its end.
func BenchmarkBreaker(b *testing.B) {
	g, err := breaker.New(breaker.Config{})
	require.NoError(b, err)
	defer g.Close()
	next := &answers{http.Response{StatusCode: http.StatusOK, Header: http.Header{}}}
	safe := failsafehttp.NewRoundTripperWithExecutor(next, failsafe.With[*http.Response](circuitbreaker.NewWithDefaults[*http.Response]())) //nolint:bodyclose // nothing is answered here
	for _, one := range []struct {
		name string
		rt   http.RoundTripper
	}{
		{"nothing", next},
		{"ginfer", g.Transport(next)},
		{"gobreaker", &withGobreaker{next, gobreaker.NewCircuitBreaker[*http.Response](gobreaker.Settings{})}}, //nolint:bodyclose // nothing is answered here
		{"failsafe-go", safe},
	} {
		b.Run(one.name, func(b *testing.B) {
			b.ReportAllocs()
			req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://a.example/", nil)
			require.NoError(b, err)
			for b.Loop() {
				res, err := one.rt.RoundTrip(req)
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
			}
		})
	}
}
