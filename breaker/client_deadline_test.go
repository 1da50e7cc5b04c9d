package breaker_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/balance"
	"github.com/ginfer/ginfer/breaker"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/proxy"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A client's own deadline, passed or too close, must not open a route's circuit for others.
func TestClientsDeadlineIsNoFailure(t *testing.T) {
	t.Parallel()
	g, _ := group(t, breaker.Settings{Consecutive: 1, FailurePercent: -1})
	e := gin.New()
	e.POST("/", g.Middleware(breaker.MiddlewareConfig{}), func(c *gin.Context) {
		apierror.Abort(c, &apierror.Error{Status: http.StatusGatewayTimeout, Err: fmt.Errorf("%w passed", proxy.ErrDeadline)})
	})
	w := httptest.NewRecorder()
	e.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", http.NoBody))
	assert.Equal(t, 504, w.Code)
	assert.Equal(t, breaker.Closed, state(t, g).State)
}

// An upstream that responds that it can't meet a short deadline has not failed.
func TestHurriedUpstreamIsNoFailure(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		hurried bool
		status  int
		fails   bool
	}{"hurried": {true, 504, false}, "not hurried": {false, 504, true}, "broken": {true, 502, true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, _ := group(t, breaker.Settings{Consecutive: 1, FailurePercent: -1})
			up := &upstream{respond: respondWith(c.status, "application/json", "{}")} //nolint:bodyclose // closed below
			pool, err := balance.New(balance.Config{Transport: g.Transport(up), Endpoints: []balance.Endpoint{{URL: "http://a"}}})
			require.NoError(t, err)
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader("x"))
			require.NoError(t, err)
			_, req = (&exchange.Exchange{Limits: exchange.Limits{Hurried: c.hurried}}).Begin(req)
			res, err := pool.RoundTrip(req)
			require.NoError(t, err)
			_, _ = io.Copy(io.Discard, res.Body)
			require.NoError(t, res.Body.Close())
			assert.Equal(t, c.fails, state(t, g).State != breaker.Closed)
			assert.Equal(t, c.fails, pool.Status()[0].Failures > 0)
		})
	}
}
