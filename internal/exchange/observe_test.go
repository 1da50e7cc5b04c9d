package exchange_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// An exchange counts once per observer: its first failure at once, a success in its place.
func TestObserve(t *testing.T) {
	t.Parallel()
	const counted, corrected, repeated = exchange.Counted, exchange.Corrected, exchange.Repeated
	for name, tt := range map[string]struct {
		oks  []bool
		want []exchange.Observation
	}{
		"a success":                 {[]bool{true, true}, []exchange.Observation{counted, repeated}},
		"failures":                  {[]bool{false, false}, []exchange.Observation{counted, repeated}},
		"a success after failures":  {[]bool{false, false, true, true}, []exchange.Observation{counted, repeated, corrected, repeated}},
		"a failure after a success": {[]bool{true, false, true}, []exchange.Observation{counted, repeated, repeated}},
		"a failure after both":      {[]bool{false, true, false}, []exchange.Observation{counted, corrected, repeated}},
	} {
		x := new(exchange.Exchange)
		for i, ok := range tt.oks {
			assert.Equal(t, tt.want[i], x.Observe("one", ok), "%s, %d", name, i)
		}
		assert.Equal(t, counted, x.Observe("another", false), name)
	}
}

func TestLastResort(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	assert.False(t, exchange.IsLastResort(ctx))
	assert.True(t, exchange.IsLastResort(exchange.WithLastResort(ctx)))
}

// slowly takes a second for each read.
type slowly struct{ io.Reader }

func (s slowly) Read(p []byte) (int, error) {
	<-time.After(time.Second)
	return s.Reader.Read(p)
}

type upstreamOf func(*http.Request) (*http.Response, error)

func (f upstreamOf) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// The time around reads is the upstream's, without a slow client's.
func TestOnReadMeasuresTheUpstream(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, req := exchange.Start(httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody))
		res, err := a.Do(req, upstreamOf(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, ContentLength: -1, Body: io.NopCloser(slowly{strings.NewReader("ab")})}, nil
		}))
		require.NoError(t, err)
		var began time.Time
		var waited []time.Duration
		a.OnRead(func(at time.Time) { began = at }, func(at time.Time) { waited = append(waited, at.Sub(began)) })
		for range 3 {
			_, _ = res.Body.Read(make([]byte, 1))
			<-time.After(time.Minute)
		}
		require.NoError(t, res.Body.Close())
		assert.Equal(t, []time.Duration{time.Second, time.Second, time.Second}, waited)
		assert.False(t, a.IsStream())
	})
}
