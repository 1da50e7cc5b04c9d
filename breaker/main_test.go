package breaker_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/breaker"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/testkit/recorded"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	breaker.Warm(1024) // a used one must wait, and bubbles have another clock
	goleak.VerifyTestMain(m,
		// hystrix never ends them; see newRates.
		goleak.IgnoreAnyFunction("github.com/afex/hystrix-go/hystrix.(*metricExchange).Monitor"),
		goleak.IgnoreAnyFunction("github.com/afex/hystrix-go/hystrix.(*poolMetrics).Monitor"),
	)
}

// upstream responds by a function and counts its calls.
type upstream struct {
	mu      sync.Mutex
	calls   int
	respond func(*http.Request) (*http.Response, error)
}

func (u *upstream) RoundTrip(r *http.Request) (*http.Response, error) {
	u.mu.Lock()
	u.calls++
	f := u.respond
	u.mu.Unlock()
	return f(r)
}

func (u *upstream) set(f func(*http.Request) (*http.Response, error)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.respond = f
}

func (u *upstream) count() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.calls
}

func respondWith(status int, contentType, text string, header ...string) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) {
		h := http.Header{"Content-Type": {contentType}}
		for i := 0; i+1 < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(text)), ContentLength: -1}, nil
	}
}

var (
	good = respondWith(200, "application/json", "{}")
	bad  = respondWith(500, "application/json", "{}")

	overloaded = respondWith(529, "application/json", "{}")
	missing    = respondWith(404, "application/json", "{}")
	limited    = respondWith(429, "application/json", "{}")
)

func refused(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") }

// group makes a group. Its circuits are released after the test.
func group(tb testing.TB, s breaker.Settings) (*breaker.Group, *events) {
	tb.Helper()
	seen := new(events)
	g, err := breaker.New(breaker.Config{Settings: s, OnEvent: seen.On})
	require.NoError(tb, err)
	tb.Cleanup(g.Close)
	return g, seen
}

type events struct{ recorded.Events[breaker.Event] }

func (e *events) reasons() (out []string) {
	for _, one := range e.All() {
		out = append(out, one.Reason)
	}
	return out
}

// send makes an exchange and reads it to its end. It returns the status, or 0 with the error.
func send(ctx context.Context, rt http.RoundTripper) (int, error) {
	req, _ := http.NewRequestWithContext(ctx, http.MethodPost, "http://a.example/", http.NoBody)
	res, err := rt.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, errors.Join(err, res.Body.Close())
}

// pooled marks requests as from a pool that has another endpoint.
type pooled struct{ http.RoundTripper }

func (p pooled) RoundTrip(req *http.Request) (*http.Response, error) {
	a, req := exchange.Start(req)
	a.Use("one")
	a.SetOthers(1)
	res, err := p.RoundTripper.RoundTrip(req)
	if exchange.IsRefused(err) {
		a.Finish(err)
	}
	return res, err
}

// many sends n requests and counts those that were admitted.
func many(rt http.RoundTripper, n int) (passed int) {
	for range n {
		if _, err := send(context.Background(), rt); !errors.Is(err, breaker.ErrOpen) {
			passed++
		}
	}
	return passed
}

func state(tb testing.TB, g *breaker.Group) breaker.Status {
	tb.Helper()
	all := g.Status()
	require.Len(tb, all, 1)
	return all[0]
}

// retry returns the Retry-After of a refusal.
func retry(tb testing.TB, err error) time.Duration {
	tb.Helper()
	var e *apierror.Error
	require.ErrorAs(tb, err, &e)
	require.Equal(tb, http.StatusServiceUnavailable, e.Status)
	return e.RetryAfter
}
