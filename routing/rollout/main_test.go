package rollout_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/routing"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.TestMode)
	goleak.VerifyTestMain(m)
}

// upstream is a RoundTripper made of a function.
type upstream func(*http.Request) (*http.Response, error)

func (u upstream) RoundTrip(r *http.Request) (*http.Response, error) { return u(r) }

// serves responds with a status and the upstream's name.
func serves(name string, status int) upstream {
	return func(r *http.Request) (*http.Response, error) {
		if r.Body != nil {
			_, _ = io.Copy(io.Discard, r.Body)
		}
		return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(name))}, nil
	}
}

func upstreams(names ...string) map[string]http.RoundTripper {
	out := make(map[string]http.RoundTripper)
	for _, n := range names {
		out[n] = serves(n, http.StatusOK)
	}
	return out
}

func table(tb testing.TB, text string) routing.Table {
	tb.Helper()
	out, err := routing.ParseTable([]byte(text))
	require.NoError(tb, err)
	return out
}

func newRouter(tb testing.TB, cfg routing.Config) *routing.Router {
	tb.Helper()
	r, err := routing.New(cfg)
	require.NoError(tb, err)
	return r
}

func post(body string, headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/v1/chat/completions", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

// decided returns the request as a proxy sends it after the middleware.
func decided(tb testing.TB, router *routing.Router, r *http.Request) *http.Request {
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

// sent sends a decided request, reads the response, and returns the version that served it.
func sent(router *routing.Router, r *http.Request) (version string, err error) {
	res, err := router.Transport().RoundTrip(r)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	_, err = io.Copy(io.Discard, res.Body)
	return res.Header.Get("X-Model-Version"), err
}
