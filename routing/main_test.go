package routing_test

import (
	"context"
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

// serves responds with a status, and with the upstream's name and the request's body.
func serves(name string, status int) upstream {
	return func(r *http.Request) (*http.Response, error) {
		var body []byte
		if r.Body != nil {
			body, _ = io.ReadAll(r.Body)
		}
		return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(name + ":" + string(body)))}, nil
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

// decide sends a request through the middleware.
func decide(router *routing.Router, r *http.Request) (routing.Decision, *httptest.ResponseRecorder) {
	var d routing.Decision
	e := gin.New()
	e.NoRoute(router.Middleware(), func(c *gin.Context) {
		d, _ = routing.FromContext(c.Request.Context())
		c.Status(http.StatusOK)
	})
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	return d, w
}

// result is a response with the version that served it.
type result struct {
	status        int
	version, body string
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

// reply is a result with its headers.
type reply struct {
	http.Header
	result
}

// sent sends a decided request.
func sent(router *routing.Router, r *http.Request) (reply, error) {
	res, err := router.Transport().RoundTrip(r)
	if err != nil {
		return reply{}, err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	return reply{res.Header, result{res.StatusCode, res.Header.Get("X-Model-Version"), string(body)}}, err
}

// relayed sends a request through middleware and transport.
func relayed(t *testing.T, router *routing.Router, r *http.Request) reply {
	t.Helper()
	got, err := sent(router, decided(t, router, r))
	require.NoError(t, err)
	return got
}

// roundTrip is relayed for requests that may fail.
func roundTrip(t *testing.T, router *routing.Router, r *http.Request) (result, error) {
	t.Helper()
	got, err := sent(router, decided(t, router, r))
	return got.result, err
}

type tagsKey struct{}

func withTags(r *http.Request, tags ...string) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), tagsKey{}, tags))
}

func tagsOf(ctx context.Context) []string {
	tags, _ := ctx.Value(tagsKey{}).([]string)
	return tags
}

// hangs waits for the end of the request's context.
func hangs(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, context.Cause(r.Context())
}
