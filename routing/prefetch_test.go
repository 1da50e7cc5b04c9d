package routing_test

import (
	"context"
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

// endless is a stream without data until its context ends.
type endless struct {
	ctx context.Context //nolint:containedctx // a body has no other way to end with its request
}

func (e endless) Read([]byte) (int, error) {
	<-e.ctx.Done()
	return 0, context.Cause(e.ctx)
}

func (endless) Close() error { return nil }

// After a prefetch timed out in one layer, the next one does not prefetch the response again.
func TestPrefetchOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const text = `{"routes":[{"model":"m","version":"a","fallback":["b"]},{"version":"b"}]}`
		silent := routetest.Upstream(func(r *http.Request) (*http.Response, error) {
			h := http.Header{"Content-Type": {"text/event-stream"}}
			return &http.Response{StatusCode: http.StatusOK, Header: h, ContentLength: -1, Body: endless{r.Context()}}, nil
		})
		r := routetest.New(t, routing.Config{Table: routetest.Table(t, text), Upstreams: map[string]http.RoundTripper{"a": silent, "b": routetest.Serves("b", 200)}})
		x := &exchange.Exchange{Limits: exchange.Limits{Prefetch: true, Hold: time.Second, FirstByte: time.Minute}}
		a, req := x.Begin(routetest.Post(`{"model":"m"}`))
		start := time.Now()
		out := routetest.Decided(t, r, req)
		res, err := r.Transport().RoundTrip(out)
		require.NoError(t, err)
		a.Latest().Prefetch()
		assert.Equal(t, time.Second, time.Since(start))
		go func() {
			<-time.After(time.Second)
			a.Cancel(io.EOF)
		}()
		_, err = res.Body.Read(make([]byte, 10))
		require.Error(t, err)
		require.NoError(t, res.Body.Close())
	})
}
