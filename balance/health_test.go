package balance_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/balance"
	"github.com/stretchr/testify/require"
)

// clinic is an endpoint with health set by a test.
type clinic struct {
	unhealthy atomic.Bool
	checks    atomic.Int64
	path      atomic.Value
}

func (c *clinic) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Header.Get("User-Agent") != "ginfer-health-check" {
		return named(fine)(req)
	}
	c.checks.Add(1)
	c.path.Store(req.Method + " " + req.URL.String())
	if c.unhealthy.Load() {
		return response(503, "no"), nil
	}
	return response(200, strings.Repeat("x", 100<<10)), nil
}

// TestHealthThresholds: e00 is healthy at first, then each letter is one check's result, f for
// failed; want has its health after each.
func TestHealthThresholds(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		healthy, unhealthy int
		results, want      string
	}{
		"defaults: 3 bad, 2 good":  {0, 0, "fffoo", "++--+"},
		"a good one restarts":      {0, 0, "ffoffoff", "++++++++"},
		"a bad one restarts":       {0, 0, "fffofoo", "++----+"},
		"one is enough":            {1, 1, "fofo", "-+-+"},
		"slow to fall and to rise": {4, 5, "fffffoooo", "++++----+"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				results := make(chan error) // a check waits for the test, not the test for the clock
				p := newPool(t, balance.Config{Endpoints: endpoints(1), Health: balance.Health{
					Healthy: tt.healthy, Unhealthy: tt.unhealthy, Check: resultFrom(results),
				}})
				run(t, p)
				results <- nil
				var got strings.Builder
				for _, r := range tt.results {
					results <- map[rune]error{'f': errRefused, 'o': nil}[r]
					synctest.Wait()
					got.WriteString(map[bool]string{true: "+", false: "-"}[status(t, p, "e00").Healthy])
				}
				require.Equal(t, tt.want, got.String())
			})
		})
	}
}

func resultFrom(results chan error) func(context.Context, balance.Endpoint) error {
	return func(ctx context.Context, _ balance.Endpoint) error {
		select {
		case err := <-results:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func TestTheFirstCheckDecidesAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &clinic{}
		c.unhealthy.Store(true)
		p := newPool(t, balance.Config{Endpoints: endpoints(1), Transport: c})
		require.True(t, status(t, p, "e00").Healthy, "healthy until checked")
		run(t, p)
		require.False(t, status(t, p, "e00").Healthy)
	})
}

// TestAnUnhealthyEndpointIsAvoidedAndReturns: with the defaults, checks each 5 s, 3 bad ones
// and 2 good ones.
func TestAnUnhealthyEndpointIsAvoidedAndReturns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log events
		ill := &clinic{}
		list := endpoints(3)
		list[0].Transport = ill
		p := newPool(t, balance.Config{Endpoints: list, Transport: &clinic{}, OnEvent: log.on, Policy: balance.RoundRobin()})
		run(t, p)
		require.Equal(t, map[string]int{"e00": 3, "e01": 3, "e02": 3}, served(t, p, 9))
		ill.unhealthy.Store(true)
		advance(10 * time.Second)
		require.Contains(t, served(t, p, 9), "e00", "two bad checks at most")
		advance(7 * time.Second)
		require.NotContains(t, served(t, p, 9), "e00")
		ill.unhealthy.Store(false)
		advance(12 * time.Second)
		require.Contains(t, served(t, p, 9), "e00")
		require.Equal(t, []string{"unhealthy e00", "recovered e00"}, log.all())
	})
}

// TestHealthRequest: the request of a check, and the good responses.
func TestHealthRequest(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		base, path, want string
	}{
		"default":         {"http://h.test:8000", "", "GET http://h.test:8000/health"},
		"own path":        {"http://h.test", "/v1/ready?deep=1", "GET http://h.test/v1/ready?deep=1"},
		"below the base":  {"https://h.test/api/", "/up", "GET https://h.test/api/up"},
		"base is escaped": {"http://h.test/a%2Fb%25/c%20d", "/up", "GET http://h.test/a%2Fb%25/c%20d/up"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := &clinic{}
				p := newPool(t, balance.Config{Endpoints: []balance.Endpoint{{Name: "e", URL: tt.base}}, Transport: c, Health: balance.Health{Path: tt.path}})
				run(t, p)
				require.Equal(t, tt.want, c.path.Load())
				require.True(t, status(t, p, "e").Healthy)
				require.Zero(t, status(t, p, "e").Requests, "a check is no request")
			})
		})
	}
}

func TestHealthResponses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		response transport
		well     bool
	}{
		"200":           {func(*http.Request) (*http.Response, error) { return response(200, ""), nil }, true},
		"204":           {func(*http.Request) (*http.Response, error) { return response(204, ""), nil }, true},
		"302":           {func(*http.Request) (*http.Response, error) { return response(302, ""), nil }, true},
		"404":           {func(*http.Request) (*http.Response, error) { return response(404, ""), nil }, false},
		"500":           {func(*http.Request) (*http.Response, error) { return response(500, ""), nil }, false},
		"no connection": {func(*http.Request) (*http.Response, error) { return nil, errRefused }, false},
		"too slow": {func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var errs []error
				p := newPool(t, balance.Config{Endpoints: endpoints(1), Transport: tt.response, OnEvent: func(_ context.Context, e balance.Event) { errs = append(errs, e.Err) }})
				run(t, p)
				advance(2 * time.Second)
				require.Equal(t, tt.well, status(t, p, "e00").Healthy)
				if !tt.well {
					require.Len(t, errs, 1)
					require.ErrorContains(t, errs[0], "check e00")
				}
			})
		})
	}
}

// TestHealthOff: without a path only a custom check is made.
func TestHealthOff(t *testing.T) {
	t.Parallel()
	for _, own := range []bool{false, true} {
		t.Run(map[bool]string{false: "off", true: "own check"}[own], func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := &clinic{}
				var called atomic.Int64
				h := balance.Health{Path: "-"}
				if own {
					h.Check = func(context.Context, balance.Endpoint) error { called.Add(1); return nil }
				}
				p := newPool(t, balance.Config{Endpoints: endpoints(1), Transport: c, Health: h})
				run(t, p)
				advance(time.Minute)
				require.Zero(t, c.checks.Load())
				require.Equal(t, own, called.Load() > 0)
			})
		})
	}
}

// TestRunEndsWithItsContext: even during a check. Its result is then ignored.
func TestRunEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := make(chan struct{}, 100)
		p := newPool(t, balance.Config{Endpoints: endpoints(50), Health: balance.Health{Check: func(ctx context.Context, _ balance.Endpoint) error {
			began <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		}}})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		synctest.Wait()
		require.Len(t, began, 32, "not all at once")
		cancel()
		require.NoError(t, <-done)
		for _, s := range p.Status() {
			require.True(t, s.Healthy)
		}
	})
}

// TestRunWithNothingToDo: it returns at once.
func TestRunWithNothingToDo(t *testing.T) {
	t.Parallel()
	p := newPool(t, balance.Config{Health: balance.Health{Path: "-"}, Outlier: balance.Outlier{Interval: -1}})
	require.NoError(t, p.Run(context.Background()))
}

func TestHealthBodyIsClosed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		body := &watched{Reader: strings.NewReader("ok")}
		p := newPool(t, balance.Config{Endpoints: endpoints(1), Transport: transport(func(*http.Request) (*http.Response, error) {
			res := response(200, "")
			res.Body = body
			return res, nil
		})})
		run(t, p)
		require.EqualValues(t, 1, body.closed.Load())
		_, err := body.Reader.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF, "read, for the connection's sake")
	})
}
