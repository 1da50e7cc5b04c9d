package routing_test

import (
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/testkit/routetest"
	"github.com/ginfer/ginfer/routing"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Slow JSON has begun, and patience applies to the beginning only. Servers send blanks to
// keep connections alive while a model thinks.
func TestSlowJSONHasNoFallback(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const text = `{"routes":[{"model":"m","version":"a","fallback":["b"]},{"version":"b"}]}`
		slow := routetest.Upstream(func(*http.Request) (*http.Response, error) {
			r, w := io.Pipe()
			go func() {
				for _, s := range []string{"\n", "\n", "\n", "\n", `{"a":1}`} {
					<-time.After(4 * time.Second)
					if _, err := io.WriteString(w, s); err != nil {
						return
					}
				}
				_ = w.Close()
			}()
			h := http.Header{"Content-Type": {"application/json"}}
			return &http.Response{StatusCode: http.StatusOK, Header: h, ContentLength: -1, Body: r}, nil
		})
		r := routetest.New(t, routing.Config{Table: routetest.Table(t, text), Upstreams: map[string]http.RoundTripper{"a": slow, "b": routetest.Serves("b", 200)}})
		x := &exchange.Exchange{Limits: exchange.Limits{Prefetch: true, FirstByte: 10 * time.Second}}
		_, req := x.Begin(routetest.Post(`{"model":"m"}`))
		got, err := roundTrip(t, r, req)
		require.NoError(t, err)
		assert.Equal(t, "\n\n\n\n{\"a\":1}", got.body)
	})
}
