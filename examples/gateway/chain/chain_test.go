package chain_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ginfer/ginfer/examples/gateway/chain"
	"github.com/ginfer/ginfer/examples/gateway/gatewaytest"
	"github.com/ginfer/ginfer/examples/gateway/live"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { gatewaytest.Main(m) }

// Every refusal is logged, and comes from the first stage that refuses.
func TestOrder(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	file := gatewaytest.Write(t, "my.json", `{"log": {"sync": true}, `+gatewaytest.UpstreamA+`,
		"limits": {"none": {"unit": "requests", "by": "everybody", "rate": "1/h", "burst": 1}},
		"groups": [{"path": "/", "upstream": "a", "methods": ["GET"], "limits": ["none"]}]}`)
	g := live.New(live.NewLog(&log, slog.LevelInfo), file, chain.Order())
	t.Cleanup(g.Close)
	require.NoError(t, g.Load(t.Context()))
	for i, tt := range []struct {
		method, token string
		want          int
	}{
		{http.MethodPost, "", http.StatusMethodNotAllowed},
		{http.MethodGet, "", http.StatusUnauthorized},
		{http.MethodGet, g.Token(), http.StatusBadGateway}, // no server listens
		{http.MethodGet, g.Token(), http.StatusTooManyRequests},
		{http.MethodGet, "", http.StatusUnauthorized},
	} {
		r := httptest.NewRequestWithContext(t.Context(), tt.method, "/v1/models", http.NoBody)
		if tt.token != "" {
			r.Header.Set("Authorization", "Bearer "+tt.token)
		}
		w := httptest.NewRecorder()
		g.ServeHTTP(w, r)
		assert.Equal(t, tt.want, w.Code, i)
		assert.Equal(t, i+1, strings.Count(log.String(), `"msg":"request"`), log.String())
	}
}
