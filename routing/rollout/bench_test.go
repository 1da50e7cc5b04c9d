package rollout_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/internal/testkit/routetest"
	"github.com/ginfer/ginfer/routing"
	"github.com/ginfer/ginfer/routing/rollout"
	"github.com/stretchr/testify/require"
)

// The cost of a decision and its request, without and with a rollout that measures it.
func BenchmarkRollout(b *testing.B) {
	for _, with := range []bool{false, true} {
		b.Run("rollout="+strconv.FormatBool(with), func(b *testing.B) {
			up := routetest.Upstream(func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("x"))}, nil
			})
			cfg := routing.Config{Table: routetest.Table(b, rolloutTable), StickyHeader: "User", Upstreams: map[string]http.RoundTripper{"old": up, "new": up}}
			if with {
				r, err := rollout.New(rollout.Config{Model: "m", Stable: "old", Canary: "new", Steps: []float64{0.1, 1}})
				require.NoError(b, err)
				cfg.Rollouts = []*rollout.Rollout{r}
			}
			router := routetest.New(b, cfg)
			e := gin.New()
			transport := router.Transport()
			e.NoRoute(router.Middleware(), func(c *gin.Context) {
				res, err := transport.RoundTrip(c.Request)
				if err == nil {
					_, _ = io.Copy(io.Discard, res.Body)
					_ = res.Body.Close()
				}
			})
			requests := make([]*http.Request, 4096)
			for i := range requests {
				requests[i] = routetest.Post("", "User", strconv.Itoa(i))
			}
			const body = `{"model":"m"}`
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				i := 0
				for pb.Next() {
					i++
					req := requests[i%len(requests)].Clone(b.Context())
					req.Body, req.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
					e.ServeHTTP(httptest.NewRecorder(), req)
				}
			})
		})
	}
}
