package routing_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/testkit/routetest"
	"github.com/ginfer/ginfer/routing"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func fails(err error) routetest.Upstream {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

// spare fails, and reports how many other endpoints it has.
func spare(others int, err error) routetest.Upstream {
	return func(r *http.Request) (*http.Response, error) {
		exchange.Current(r.Context()).SetOthers(others)
		return nil, err
	}
}

// Retries at other endpoints of the same version come first. The proxy's retry budget counts
// fallbacks too, but only calls that are made.
func TestFallbackWithinTheProxysRules(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	refused := &apierror.Error{Status: 503, Err: errors.Join(errors.New("open"), &exchange.NotSentError{})}
	tests := map[string]struct {
		a               routetest.Upstream
		repeats, budget bool
		hedge           bool
		fell            bool
		spent           int
	}{
		"final":                           {a: fails(broken), budget: true, fell: true, spent: 1},
		"503":                             {a: routetest.Serves("a", 503), budget: true, fell: true, spent: 1},
		"retry at another":                {a: spare(1, broken), repeats: true, budget: true},
		"others, but no retry":            {a: spare(1, broken), budget: true, fell: true, spent: 1},
		"retry at the same":               {a: spare(0, broken), repeats: true, budget: true, fell: true, spent: 1},
		"budget used up":                  {a: fails(broken), spent: 1},
		"retry, budget used up":           {a: spare(1, broken), repeats: true},
		"nothing was sent":                {a: fails(refused), budget: true, fell: true},
		"nothing was sent, budget used":   {a: fails(refused), fell: true},
		"nothing was sent, others":        {a: spare(1, refused), repeats: true, budget: true},
		"no endpoint":                     {a: fails(&apierror.Error{Status: 503}), repeats: true, budget: true, fell: true, spent: 1},
		"the gateway's own failure":       {a: fails(&apierror.Error{}), budget: true, fell: true, spent: 1},
		"the gateway's limit":             {a: fails(&apierror.Error{Status: 429}), budget: true, fell: true, spent: 1},
		"the request's fault":             {a: fails(&apierror.Error{Status: 413}), budget: true},
		"the request's fault, wrapped":    {a: fails(fmt.Errorf("x: %w", &apierror.Error{Status: 400})), budget: true},
		"a hedge leaves it to the others": {a: fails(broken), budget: true, hedge: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spent := 0
			x := &exchange.Exchange{
				Repeats: func(*exchange.Attempt, exchange.Verdict) bool { return tt.repeats },
				Spend:   func() bool { spent++; return tt.budget },
			}
			begin := x.Begin
			if tt.hedge {
				begin = x.BeginHedge
			}
			r := routetest.New(t, routing.Config{Table: routetest.Table(t, `{"routes":[{"version":"a","fallback":["b"]}]}`), Upstreams: map[string]http.RoundTripper{"a": tt.a, "b": routetest.Serves("b", 200)}})
			_, req := begin(httptest.NewRequest(http.MethodGet, "/", nil))
			got, _ := roundTrip(t, r, req)
			assert.Equal(t, tt.fell, got.body == "b:")
			assert.Equal(t, tt.fell, x.Final())
			assert.Equal(t, tt.spent, spent)
		})
	}
}

// A fallback is a version of the same model, else of a route for several models that include
// it, else of another model, which is called by its own name, else an upstream.
func TestFallbackNames(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ routes, want string }{
		"same model":                        {`{"model":"m","version":"b","weight":1,"conditions":{"path":"/x"}},{"model":"n","version":"b","upstream_model":"x"}`, "b:m"},
		"same model, another name":          {`{"model":"n","version":"b"},{"model":"m","version":"b","upstream_model":"y","conditions":{"path":"/x"}}`, "b:y"},
		"several models":                    {`{"model":"n","version":"b"},{"model":"*","version":"b"}`, "b:m"},
		"all models":                        {`{"model":"n","version":"b"},{"version":"b","upstream":"c"}`, "c:m"},
		"another model":                     {`{"model":"n","version":"b"}`, "b:n"},
		"another model elsewhere":           {`{"model":"n","version":"b","upstream":"c"}`, "c:n"},
		"another model, named upstream":     {`{"model":"n","version":"b","upstream_model":"org/N"}`, "b:org/N"},
		"several others":                    {`{"model":"n*","version":"b"}`, "b:m"},
		"several others, named upstream":    {`{"model":"n*","version":"b","upstream_model":"n1"}`, "b:n1"},
		"two others that are one":           {`{"model":"n","version":"b","upstream_model":"x"},{"model":"o","version":"b","upstream_model":"x"}`, "b:x"},
		"an upstream":                       {`{"model":"n","version":"c"}`, "b:m"},
		"another model's version by chance": {`{"model":"n","version":"a"},{"model":"o","version":"b"}`, "b:o"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sent := func(name string) routetest.Upstream {
				return func(r *http.Request) (*http.Response, error) {
					res, err := routetest.Serves(name, 200)(r)
					res.Header.Set("X-Model", "the upstream's own")
					return res, err
				}
			}
			r := routetest.New(t, routing.Config{
				Table:     routetest.Table(t, `{"routes":[{"model":"m","version":"a","fallback":["b"]},`+tt.routes+`]}`),
				Upstreams: map[string]http.RoundTripper{"a": routetest.Serves("a", 500), "b": sent("b"), "c": sent("c")},
			})
			res := relayed(t, r, routetest.Post(`{"model":"m"}`))
			assert.Equal(t, tt.want[:2]+`{"model":"`+tt.want[2:]+`"}`, res.body)
			assert.Equal(t, tt.want[2:], res.Get("X-Model"))
			assert.Equal(t, "b", res.Get("X-Model-Version"))
			assert.Equal(t, "a", res.Get("X-Fallback-From"))
		})
	}
}

// The headers are the gateway's: an upstream's values are replaced.
func TestResponseHeaders(t *testing.T) {
	t.Parallel()
	const text = `{"routes":[{"model":"m","version":"a","upstream_model":"org/M","fallback":["b"]},{"version":"b"}]}`
	own := routetest.Upstream(func(r *http.Request) (*http.Response, error) {
		res, err := routetest.Serves("x", 200)(r)
		res.Header = http.Header{"X-Model": {"u", "v"}, "X-Model-Version": {"u"}, "X-Fallback-From": {"u"}, "Server": {"s"}, "My-Model": {"u"}}
		return res, err
	})
	bare := routetest.Upstream(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader("x"))}, nil
	})
	tests := map[string]struct {
		cfg  routing.Config
		a    routetest.Upstream
		body string
		want http.Header
	}{
		"first":            {body: `{"model":"m"}`, a: own, want: http.Header{"X-Model": {"org/M"}, "X-Model-Version": {"a"}, "Server": {"s"}, "My-Model": {"u"}}},
		"no header at all": {body: `{"model":"m"}`, a: bare, want: http.Header{"X-Model": {"org/M"}, "X-Model-Version": {"a"}}},
		"fallback":         {body: `{"model":"m"}`, a: routetest.Serves("a", 500), want: http.Header{"X-Model": {"m"}, "X-Model-Version": {"b"}, "X-Fallback-From": {"a"}, "Server": {"s"}, "My-Model": {"u"}}},
		"the request's":    {body: `{"model":"other/é"}`, want: http.Header{"X-Model": {"other/é"}, "X-Model-Version": {"b"}, "Server": {"s"}, "My-Model": {"u"}}},
		"no model":         {body: `hello`, want: http.Header{"X-Model-Version": {"b"}, "Server": {"s"}, "My-Model": {"u"}}},
		"no name":          {body: `{"model":"a\r\nSet-Cookie: b"}`, want: http.Header{"X-Model-Version": {"b"}, "Server": {"s"}, "My-Model": {"u"}}},
		"a long name":      {body: fmt.Sprintf(`{"model":"%0257d"}`, 1), want: http.Header{"X-Model-Version": {"b"}, "Server": {"s"}, "My-Model": {"u"}}},
		"other names": {
			cfg:  routing.Config{ModelHeader: "My-Model", VersionHeader: "My-Version", FallbackHeader: "My-From"},
			body: `{"model":"m"}`, a: routetest.Serves("a", 500),
			want: http.Header{"My-Model": {"m"}, "My-Version": {"b"}, "My-From": {"a"}, "X-Model": {"u", "v"}, "X-Model-Version": {"u"}, "X-Fallback-From": {"u"}, "Server": {"s"}},
		},
		"none": {
			cfg:  routing.Config{ModelHeader: "-", VersionHeader: "-", FallbackHeader: "-"},
			body: `{"model":"m"}`, a: routetest.Serves("a", 500),
			want: http.Header{"X-Model": {"u", "v"}, "X-Model-Version": {"u"}, "X-Fallback-From": {"u"}, "Server": {"s"}, "My-Model": {"u"}},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.cfg.Table = routetest.Table(t, text)
			tt.cfg.Upstreams = map[string]http.RoundTripper{"a": tt.a, "b": own}
			if tt.a == nil {
				tt.cfg.Upstreams["a"] = own
			}
			req := routetest.Post(tt.body)
			if tt.body == "hello" {
				req.Header.Set("Content-Type", "text/plain")
			}
			assert.Equal(t, tt.want, relayed(t, routetest.New(t, tt.cfg), req).Header)
		})
	}
}

// A body that can't be replayed ends the walk with its error.
func TestFallbackWithoutABody(t *testing.T) {
	t.Parallel()
	r := routetest.New(t, routing.Config{Table: routetest.Table(t, `{"routes":[{"version":"a","fallback":["b"]}]}`), Upstreams: map[string]http.RoundTripper{"a": routetest.Serves("a", 503), "b": routetest.Serves("b", 200)}})
	req := routetest.Decided(t, r, routetest.Post("x"))
	req.GetBody = func() (io.ReadCloser, error) { return nil, errors.New("gone") }
	_, err := r.Transport().RoundTrip(req) //nolint:bodyclose // there is none
	require.ErrorContains(t, err, "gone")
}

// A client disconnect during the first attempt leads to no fallback.
func TestClientDisconnect(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	r := routetest.New(t, routing.Config{Table: routetest.Table(t, `{"routes":[{"version":"a","fallback":["b"]}]}`), Upstreams: map[string]http.RoundTripper{
		"a": routetest.Upstream(func(r *http.Request) (*http.Response, error) {
			cancel()
			return routetest.Serves("a", 503)(r)
		}),
		"b": routetest.Serves("b", 200),
	}})
	got, err := roundTrip(t, r, httptest.NewRequest(http.MethodGet, "/", nil).WithContext(ctx))
	require.NoError(t, err)
	assert.Equal(t, result{503, "a", "a:"}, got)
}
