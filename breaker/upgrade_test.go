package breaker_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/ginfer/ginfer/breaker"
	"github.com/stretchr/testify/require"
)

// tunnel responds with a connection that its other end closes at once.
type tunnel struct{}

func (tunnel) RoundTrip(*http.Request) (*http.Response, error) {
	in, out := io.Pipe()
	go func() { _ = out.Close() }()
	body := struct {
		io.ReadCloser
		io.Writer
	}{in, out}
	return &http.Response{StatusCode: http.StatusSwitchingProtocols, Header: http.Header{}, Body: body}, nil
}

// A hijacked connection is closed by one goroutine while another reads.
func TestUpgradeIsClosedWhileItIsRead(t *testing.T) {
	t.Parallel()
	g, _ := group(t, breaker.Settings{})
	transport := g.Transport(tunnel{})
	for range 100 {
		res, err := transport.RoundTrip(httptest.NewRequest(http.MethodGet, "http://x/", http.NoBody))
		require.NoError(t, err)
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = io.Copy(io.Discard, res.Body) })
		wg.Go(func() { _ = res.Body.Close() })
		wg.Wait()
	}
	require.Equal(t, breaker.Closed, g.Status()[0].State)
}
