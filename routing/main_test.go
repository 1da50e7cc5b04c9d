package routing_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/internal/testkit/routetest"
	"github.com/ginfer/ginfer/routing"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.TestMode)
	goleak.VerifyTestMain(m)
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
	got, err := sent(router, routetest.Decided(t, router, r))
	require.NoError(t, err)
	return got
}

// roundTrip is relayed for requests that may fail.
func roundTrip(t *testing.T, router *routing.Router, r *http.Request) (result, error) {
	t.Helper()
	got, err := sent(router, routetest.Decided(t, router, r))
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
