package benchmarks_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/failsafehttp"
	"github.com/ginfer/ginfer/breaker"
	"github.com/sony/gobreaker/v2"
	"github.com/stretchr/testify/require"
)

// staticTransport is a transport that returns one response without any I/O.
type staticTransport struct{ res http.Response }

func (a *staticTransport) RoundTrip(*http.Request) (*http.Response, error) {
	res := a.res
	res.Body = io.NopCloser(http.NoBody)
	return &res, nil
}

// withGobreaker wraps a transport as users of gobreaker do: it sees heads, not bodies.
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

// mixed is a transport without any I/O in which every n-th response is a failure; 0: none is.
type mixed struct {
	good, bad staticTransport
	every     int64
	n         atomic.Int64
}

func newMixed(every int64) *mixed {
	of := func(status int) staticTransport {
		return staticTransport{http.Response{StatusCode: status, Header: http.Header{}}}
	}
	return &mixed{good: of(http.StatusOK), bad: of(http.StatusInternalServerError), every: every}
}

func (m *mixed) RoundTrip(req *http.Request) (*http.Response, error) {
	if m.every > 0 && m.n.Add(1)%m.every == 0 {
		return m.bad.RoundTrip(req)
	}
	return m.good.RoundTrip(req)
}

// breakers returns circuit breakers with equal settings: they count errors and statuses from
// 500 on in the last ten seconds, open at half of ten or more, and stay open for an hour.
func breakers(b *testing.B, next http.RoundTripper) map[string]http.RoundTripper {
	b.Helper()
	g, err := breaker.New(breaker.Config{Settings: breaker.Settings{Consecutive: -1, Volume: 10, FailurePercent: 50, Sleep: time.Hour}})
	require.NoError(b, err)
	b.Cleanup(g.Close)
	sony := gobreaker.NewCircuitBreaker[*http.Response](gobreaker.Settings{ //nolint:bodyclose // no response yet
		Interval: 10 * time.Second, BucketPeriod: time.Second, Timeout: time.Hour,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.Requests >= 10 && 2*c.TotalFailures >= c.Requests },
	})
	builder := circuitbreaker.NewBuilder[*http.Response]()                                                    //nolint:bodyclose // no response yet
	builder.HandleIf(func(res *http.Response, err error) bool { return err != nil || res.StatusCode >= 500 }) //nolint:bodyclose // no response yet
	safe := builder.WithFailureRateThreshold(0.5, 10, 10*time.Second).WithDelay(time.Hour).Build()            //nolint:bodyclose // no response yet
	return map[string]http.RoundTripper{
		"nothing":     next,
		"ginfer":      g.Transport(next),
		"gobreaker":   &withGobreaker{next, sony},
		"failsafe-go": failsafehttp.NewRoundTripperWithExecutor(next, failsafe.With[*http.Response](safe)), //nolint:bodyclose // no response yet
	}
}

// exchange sends a request and reads the response to its end. It reports whether there was one.
func exchange(rt http.RoundTripper, req *http.Request) bool {
	res, err := rt.RoundTrip(req)
	if err != nil {
		return false
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	return true
}

func newRequest() *http.Request {
	return httptest.NewRequestWithContext(context.Background(), http.MethodGet, "http://a.example/", nil)
}

// BenchmarkBreaker measures an exchange through a circuit over a transport without I/O:
// closed, closed while one response in ten is a failure, and open, serial and parallel. The
// others see heads; ours also watches each body to its end.
func BenchmarkBreaker(b *testing.B) {
	for _, state := range []struct {
		name  string
		every int64
		open  bool
	}{{"closed", 0, false}, {"failures", 10, false}, {"open", 1, true}} {
		for _, name := range []string{"nothing", "ginfer", "gobreaker", "failsafe-go"} {
			if state.open && name == "nothing" {
				continue
			}
			rt := breakers(b, newMixed(state.every))[name]
			if state.open {
				require.Eventually(b, func() bool { return !exchange(rt, newRequest()) }, 10*time.Second, time.Millisecond)
			}
			b.Run(state.name+"/serial/"+name, func(b *testing.B) { exchanges(b, rt) })
			b.Run(state.name+"/parallel/"+name, func(b *testing.B) { exchangesAtOnce(b, rt) })
		}
	}
}

func exchanges(b *testing.B, rt http.RoundTripper) {
	b.Helper()
	b.ReportAllocs()
	for req := newRequest(); b.Loop(); {
		exchange(rt, req)
	}
}

func exchangesAtOnce(b *testing.B, rt http.RoundTripper) {
	b.Helper()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for req := newRequest(); pb.Next(); {
			exchange(rt, req)
		}
	})
}
