package routing_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/testkit/routetest"
	"github.com/ginfer/ginfer/routing"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDispatch(t *testing.T) {
	t.Parallel()
	r := routetest.New(t, routing.Config{Table: routetest.Table(t, `{"routes":[
		{"model":"a","version":"v1","upstream":"u1","upstream_model":"org/Real-\"1\""},
		{"model":"b","version":"v2","upstream":"u2"},
		{"version":"v3","upstream":"u3","upstream_model":"x"}]}`), Upstreams: routetest.Upstreams("u1", "u2", "u3")})
	for body, want := range map[string]string{
		`{ "stream":true, "model" : "a", "n": 1.0 }`: `u1:{ "stream":true, "model" : "org/Real-\"1\"", "n": 1.0 }`,
		`{"model":"b"}`: `u2:{"model":"b"}`,
		`{"a":1}`:       `u3:{"model":"x","a":1}`,
		` { }`:          `u3: {"model":"x"}`,
		`{"model":"c"}`: `u3:{"model":"x"}`,
	} {
		req := routetest.Post(body)
		got, err := roundTrip(t, r, req)
		require.NoError(t, err)
		assert.Equal(t, result{http.StatusOK, "v" + want[1:2], want}, got)
	}
}

func TestFallback(t *testing.T) {
	t.Parallel()
	const chain = `{"routes":[{"model":"m","version":"a","upstream_model":"ma","fallback":["b","c"]},{"model":"n","version":"b","upstream_model":"mb"}]}`
	tests := map[string]struct {
		a, b   routetest.Upstream
		want   string
		status int
		err    string
	}{
		"good":              {routetest.Serves("a", 200), routetest.Serves("b", 200), `a:{"model":"ma"}`, 200, ""},
		"client's fault":    {routetest.Serves("a", 400), routetest.Serves("b", 200), `a:{"model":"ma"}`, 400, ""},
		"error":             {fails(errors.New("broken")), routetest.Serves("b", 200), `b:{"model":"mb"}`, 200, ""},
		"500":               {routetest.Serves("a", 500), routetest.Serves("b", 200), `b:{"model":"mb"}`, 200, ""},
		"429":               {routetest.Serves("a", 429), routetest.Serves("b", 200), `b:{"model":"mb"}`, 200, ""},
		"two fail":          {routetest.Serves("a", 503), fails(errors.New("broken")), `c:{"model":"m"}`, 200, ""},
		"not by a 404 of b": {routetest.Serves("a", 503), routetest.Serves("b", 404), `b:{"model":"mb"}`, 404, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var fell []string
			r := routetest.New(t, routing.Config{
				Table: routetest.Table(t, chain), Upstreams: map[string]http.RoundTripper{"a": tt.a, "b": tt.b, "c": routetest.Serves("c", 200)},
				OnEvent: func(_ context.Context, e routing.Event) {
					if e.Kind == routing.FellBack {
						fell = append(fell, e.From+">"+e.Version)
					}
				},
			})
			got, err := roundTrip(t, r, routetest.Post(`{"model":"m"}`))
			require.NoError(t, err)
			assert.Equal(t, result{tt.status, tt.want[:1], tt.want}, got)
			assert.Equal(t, []string{"a>b", "b>c"}[:strings.Index("abc", got.version)], append([]string{}, fell...))
		})
	}
	r := routetest.New(t, routing.Config{Table: routetest.Table(t, chain), Upstreams: map[string]http.RoundTripper{"a": routetest.Serves("a", 500), "b": routetest.Serves("b", 500), "c": fails(errors.New("last"))}})
	_, err := roundTrip(t, r, routetest.Post(`{"model":"m"}`))
	assert.ErrorContains(t, err, "last")
}

// A version that does not begin its response in time is given up; one that has begun is not.
func TestFallbackAfter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var cause error
		hangs := routetest.Upstream(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			cause = context.Cause(r.Context())
			return nil, r.Context().Err()
		})
		slow := routetest.Upstream(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(readerFunc(func(p []byte) (int, error) {
				time.Sleep(time.Hour)
				if err := r.Context().Err(); err != nil {
					return 0, err
				}
				return copy(p, "late"), io.EOF
			}))}, nil
		})
		const text = `{"routes":[{"version":"a","fallback":["b"],"fallback_after":"20s"}]}`
		r := routetest.New(t, routing.Config{Table: routetest.Table(t, text), Upstreams: map[string]http.RoundTripper{"a": hangs, "b": routetest.Serves("b", 200)}})
		start := time.Now()
		got, err := roundTrip(t, r, httptest.NewRequest(http.MethodPost, "/", nil))
		require.NoError(t, err)
		assert.Equal(t, "b:", got.body)
		assert.Equal(t, 20*time.Second, time.Since(start))
		require.ErrorIs(t, cause, exchange.ErrTimeout, "the balancer counts it as a failure")

		r = routetest.New(t, routing.Config{Table: routetest.Table(t, text), Upstreams: map[string]http.RoundTripper{"a": slow, "b": routetest.Serves("b", 200)}})
		got, err = roundTrip(t, r, httptest.NewRequest(http.MethodPost, "/", nil))
		require.NoError(t, err)
		assert.Equal(t, "late", got.body)

		deaf := &closeSpy{Reader: strings.NewReader("too late")}
		r = routetest.New(t, routing.Config{Table: routetest.Table(t, text), Upstreams: map[string]http.RoundTripper{"b": routetest.Serves("b", 200), "a": routetest.Upstream(func(*http.Request) (*http.Response, error) {
			time.Sleep(time.Minute) // ignores its context
			return &http.Response{StatusCode: http.StatusOK, Body: deaf}, nil
		})}})
		got, err = roundTrip(t, r, httptest.NewRequest(http.MethodPost, "/", nil))
		require.NoError(t, err)
		assert.Equal(t, "b:", got.body)
		assert.True(t, deaf.closed)
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// After a fallback the proxy must not walk the chain again, whatever the last response was.
func TestNoTryAfterAFallback(t *testing.T) {
	t.Parallel()
	x := new(exchange.Exchange)
	r := routetest.New(t, routing.Config{Table: routetest.Table(t, `{"routes":[{"version":"a","fallback":["b"]}]}`), Upstreams: map[string]http.RoundTripper{
		"a": routetest.Serves("a", 503),
		"b": routetest.Upstream(func(*http.Request) (*http.Response, error) {
			return nil, &net.OpError{Op: "dial", Err: errors.New("refused")}
		}),
	}})
	_, req := x.Begin(httptest.NewRequest(http.MethodPost, "/", nil))
	_, err := roundTrip(t, r, req)
	require.ErrorContains(t, err, "refused")
	assert.True(t, x.Final())
}

// The rest of an unwanted response may never arrive: it is read for a second.
func TestFallbackDoesNotReadOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stalls := routetest.Upstream(func(r *http.Request) (*http.Response, error) {
			h := http.Header{"Content-Type": {"application/json"}}
			return &http.Response{StatusCode: http.StatusServiceUnavailable, Header: h, ContentLength: 10, Body: endless{r.Context()}}, nil
		})
		r := routetest.New(t, routing.Config{Table: routetest.Table(t, `{"routes":[{"version":"a","fallback":["b"]}]}`), Upstreams: map[string]http.RoundTripper{"a": stalls, "b": routetest.Serves("b", 200)}})
		start := time.Now()
		got, err := roundTrip(t, r, httptest.NewRequest(http.MethodPost, "/", nil))
		require.NoError(t, err)
		assert.Equal(t, "b:", got.body)
		assert.Equal(t, time.Second, time.Since(start))
	})
}

// Headers that describe the body must match the renamed body.
func TestRenameDropsDigests(t *testing.T) {
	t.Parallel()
	var got http.Header
	r := routetest.New(t, routing.Config{Table: routetest.Table(t, `{"routes":[{"version":"a","upstream_model":"real"}]}`), Upstreams: map[string]http.RoundTripper{"a": routetest.Upstream(func(r *http.Request) (*http.Response, error) {
		got = r.Header
		return routetest.Serves("a", 200)(r)
	})}})
	req := routetest.Post(`{"model":"x"}`, "Content-Digest", "sha-256=:abc:", "Digest", "x", "X-Kept", "1")
	_, err := roundTrip(t, r, req)
	require.NoError(t, err)
	assert.Equal(t, http.Header{"Content-Type": {"application/json"}, "X-Kept": {"1"}}, got)
	assert.NotEmpty(t, req.Header.Get("Content-Digest"), "the client's own request stays")
}

func TestNoFallback(t *testing.T) {
	t.Parallel()
	table := routetest.Table(t, `{"routes":[{"version":"a","fallback":["b"]}]}`)
	r := routetest.New(t, routing.Config{Table: table, Upstreams: map[string]http.RoundTripper{"a": routetest.Serves("a", 503), "b": routetest.Serves("b", 200)}})
	// a body that can't be replayed
	req := routetest.Post("once")
	req.ContentLength = -1
	got, err := roundTrip(t, r, req)
	require.NoError(t, err)
	assert.Equal(t, "a:once", got.body)

	// a client disconnect
	ctx, cancel := context.WithCancel(t.Context())
	gone := routetest.New(t, routing.Config{Table: table, Upstreams: map[string]http.RoundTripper{"a": routetest.Upstream(func(*http.Request) (*http.Response, error) {
		cancel()
		return nil, context.Canceled
	}), "b": routetest.Serves("b", 200)}})
	_, err = roundTrip(t, gone, httptest.NewRequest(http.MethodGet, "/", nil).WithContext(ctx))
	assert.ErrorIs(t, err, context.Canceled)
}

// A layer between middleware and transport replaced the body.
func TestRenameNeedsTheBody(t *testing.T) {
	t.Parallel()
	r := routetest.New(t, routing.Config{Table: routetest.Table(t, `{"routes":[{"version":"a","upstream_model":"real"}]}`), Upstreams: routetest.Upstreams("a")})
	req := routetest.Decided(t, r, routetest.Post(`{"model":"x"}`))
	body := &closeSpy{Reader: strings.NewReader("x")}
	req.Body = body
	_, err := sent(r, req)
	require.ErrorIs(t, err, routing.ErrModel)
	assert.True(t, body.closed)
}

func TestNoDecision(t *testing.T) {
	t.Parallel()
	r := routetest.New(t, routing.Config{Table: routetest.Table(t, `{"routes":[{"version":"a"}]}`), Upstreams: routetest.Upstreams("a")})
	body := &closeSpy{Reader: strings.NewReader("x")}
	req := httptest.NewRequest(http.MethodPost, "/", nil)
	req.Body = body
	_, err := r.Transport().RoundTrip(req) //nolint:bodyclose // there is none
	require.ErrorIs(t, err, routing.ErrNoDecision)
	assert.True(t, body.closed)
	_, ok := routing.FromContext(t.Context())
	assert.False(t, ok)
}

type closeSpy struct {
	*strings.Reader
	closed bool
}

func (c *closeSpy) Close() error { c.closed = true; return nil }
