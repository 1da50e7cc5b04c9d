// Package routetest has upstreams, tables and requests for tests of routing and rollouts.
package routetest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/routing"
	"github.com/stretchr/testify/require"
)

// Upstream is an http.RoundTripper made of a function.
type Upstream func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (u Upstream) RoundTrip(r *http.Request) (*http.Response, error) { return u(r) }

// Serves returns an upstream that responds with a status, its name and the request's body.
func Serves(name string, status int) Upstream {
	return func(r *http.Request) (*http.Response, error) {
		var body []byte
		if r.Body != nil {
			body, _ = io.ReadAll(r.Body)
		}
		return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(name + ":" + string(body)))}, nil
	}
}

// Upstreams returns an upstream of each name that responds with 200.
func Upstreams(names ...string) map[string]http.RoundTripper {
	out := make(map[string]http.RoundTripper)
	for _, n := range names {
		out[n] = Serves(n, http.StatusOK)
	}
	return out
}

// Table parses a table.
func Table(tb testing.TB, text string) routing.Table {
	tb.Helper()
	out, err := routing.ParseTable([]byte(text))
	require.NoError(tb, err)
	return out
}

// New returns a Router.
func New(tb testing.TB, cfg routing.Config) *routing.Router {
	tb.Helper()
	r, err := routing.New(cfg)
	require.NoError(tb, err)
	return r
}

// Post returns a request to a model.
func Post(body string, headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/v1/chat/completions", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

// Decided returns the request as a proxy sends it after the middleware.
func Decided(tb testing.TB, router *routing.Router, r *http.Request) *http.Request {
	tb.Helper()
	var out *http.Request
	e := gin.New()
	e.NoRoute(router.Middleware(), func(c *gin.Context) {
		out = c.Request.Clone(c.Request.Context())
		out.RequestURI = ""
	})
	e.ServeHTTP(httptest.NewRecorder(), r)
	require.NotNil(tb, out, "no decision")
	return out
}
