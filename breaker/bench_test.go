package breaker_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/ginfer/ginfer/breaker"
	"github.com/stretchr/testify/require"
)

type constant struct{}

func (constant) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("{}")), ContentLength: 2, Request: req}, nil
}

func BenchmarkTransport(b *testing.B) {
	group, err := breaker.New(breaker.Config{})
	require.NoError(b, err)
	tr := group.Transport(constant{})
	req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, "http://a/v1/x", http.NoBody)
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		res, err := tr.RoundTrip(req)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
	}
}
