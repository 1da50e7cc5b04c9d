package balance_test

import (
	"net/http"
	"testing"

	"github.com/ginfer/ginfer/balance"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type idleSpy struct {
	http.RoundTripper
	closed int
}

func (s *idleSpy) CloseIdleConnections() { s.closed++ }

func TestCloseIdleConnections(t *testing.T) {
	t.Parallel()
	shared, own := &idleSpy{}, &idleSpy{}
	pool, err := balance.New(balance.Config{Transport: shared, Endpoints: []balance.Endpoint{{URL: "http://a"}, {URL: "http://b", Transport: own}, {URL: "http://c"}}})
	require.NoError(t, err)
	(&http.Client{Transport: pool}).CloseIdleConnections()
	assert.Positive(t, shared.closed)
	assert.Positive(t, own.closed)
}
