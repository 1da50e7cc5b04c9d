package routing_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/ginfer/ginfer/internal/attempt"
	"github.com/ginfer/ginfer/routing"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func event(data string) upstream {
	return func(*http.Request) (*http.Response, error) {
		h := http.Header{"Content-Type": {"text/event-stream"}}
		return &http.Response{StatusCode: http.StatusOK, Header: h, ContentLength: -1, Body: io.NopCloser(strings.NewReader("data: " + data + "\n\n"))}, nil
	}
}

// What is said of a version that failed must not be said of the one that answers in
// its place, nor of its endpoint.
func TestFallbackClearsTheVerdict(t *testing.T) {
	t.Parallel()
	const text = `{"routes":[{"model":"m","version":"a","fallback":["b"]},{"version":"b"}]}`
	busy := event(`{"error":{"message":"busy","code":503}}`)
	good := event(`{"choices":[{"delta":{"content":"hello"}}]}`)
	watched := upstream(func(r *http.Request) (*http.Response, error) {
		attempt.From(r.Context()).Watch()
		return busy(r)
	})
	r := newRouter(t, routing.Config{Table: table(t, text), Upstreams: map[string]http.RoundTripper{"a": watched, "b": good}})
	try := (&attempt.Exchange{Held: true}).Try(1)
	req := post(`{"model":"m"}`)
	got, err := roundTrip(t, r, req.WithContext(attempt.With(req.Context(), try)))
	require.NoError(t, err)
	assert.Contains(t, got.body, "hello")
	require.NoError(t, try.Err())
	assert.False(t, try.Watched(), "nobody reads this one's stream")
}
