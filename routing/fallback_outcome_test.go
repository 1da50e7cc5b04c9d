package routing_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/testkit/routetest"
	"github.com/ginfer/ginfer/routing"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func event(data string) routetest.Upstream {
	return func(*http.Request) (*http.Response, error) {
		h := http.Header{"Content-Type": {"text/event-stream"}}
		return &http.Response{StatusCode: http.StatusOK, Header: h, ContentLength: -1, Body: io.NopCloser(strings.NewReader("data: " + data + "\n\n"))}, nil
	}
}

// The verdict on a failed version does not carry over to the fallback or to its endpoint.
func TestFallbackClearsTheVerdict(t *testing.T) {
	t.Parallel()
	const text = `{"routes":[{"model":"m","version":"a","fallback":["b"]},{"version":"b"}]}`
	busy := event(`{"error":{"message":"busy","code":503}}`)
	good := event(`{"choices":[{"delta":{"content":"hello"},"finish_reason":"stop"}]}`)
	r := routetest.New(t, routing.Config{Table: routetest.Table(t, text), Upstreams: map[string]http.RoundTripper{"a": busy, "b": good}})
	x := &exchange.Exchange{Limits: exchange.Limits{Prefetch: true}}
	var outcomes []exchange.Outcome
	x.OnEnd(func(_ *exchange.Attempt, e *exchange.End) { outcomes = append(outcomes, e.Outcome) })
	a, req := x.Begin(routetest.Post(`{"model":"m"}`))
	got, err := roundTrip(t, r, req)
	require.NoError(t, err)
	assert.Contains(t, got.body, "hello")
	require.NoError(t, a.Latest().Verdict().Err)
	assert.Equal(t, []exchange.Outcome{exchange.Failure, exchange.Success}, outcomes)
	assert.Equal(t, 2, x.Attempts())
}
