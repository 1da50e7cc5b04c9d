// Package gatewaytest helps to test the gateway as a whole: it writes configurations and loads
// them, without ports.
package gatewaytest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/examples/gateway/chain"
	"github.com/ginfer/ginfer/examples/gateway/live"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// UpstreamA is a member with one upstream, a, where no server listens.
const UpstreamA = `"upstreams": {"a": {"endpoints": [{"url": "http://127.0.0.1:1"}]}}`

// WithGroup returns a configuration of one group without stages and with more fields, and with
// more members at the top.
func WithGroup(fields string, top ...string) string {
	group := `{"path": "/", "stages": [], "upstream": "a"` + fields + `}`
	if strings.Contains(fields, "stages") {
		group = strings.Replace(group, `"stages": [], `, "", 1)
	}
	return `{` + strings.Join(append(top, UpstreamA), ", ") + `, "groups": [` + group + `]}`
}

// WithUpstream returns a configuration of one group and one upstream with more fields.
func WithUpstream(fields string) string {
	return `{"upstreams": {"a": {"endpoints": [{"url": "http://127.0.0.1:1"}]` + fields + `}}, "groups": [{"path": "/", "stages": [], "upstream": "a"}]}`
}

// WithTable returns a configuration of one group with a routing table.
func WithTable(table string) string {
	return `{` + UpstreamA + `, "groups": [{"path": "/", "routing": {"table": ` + table + `}}]}`
}

// Main runs the tests of a package, and fails when they leave goroutines behind.
func Main(m *testing.M) {
	gin.SetMode(gin.ReleaseMode)
	goleak.VerifyTestMain(m,
		// hystrix never ends them; see package breaker.
		goleak.IgnoreAnyFunction("github.com/afex/hystrix-go/hystrix.(*metricExchange).Monitor"),
		goleak.IgnoreAnyFunction("github.com/afex/hystrix-go/hystrix.(*poolMetrics).Monitor"),
	)
}

// Write writes text into a file of a new directory.
func Write(tb testing.TB, name, text string) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), name)
	require.NoError(tb, os.WriteFile(path, []byte(text), 0o600)) //nolint:gosec // in a directory of the test
	return path
}

// Load returns a gateway of a configuration file, "" for the one built in.
func Load(tb testing.TB, path string) (*live.Gateway, error) {
	tb.Helper()
	g := live.New(live.NewLog(io.Discard, slog.LevelInfo), path, chain.Order())
	tb.Cleanup(g.Close)
	return g, g.Load(tb.Context())
}

// LoadText returns a gateway of a configuration.
func LoadText(t *testing.T, text string) *live.Gateway {
	t.Helper()
	g, err := Load(t, Write(t, "my.json", text))
	require.NoError(t, err)
	return g
}

// Chat sends a chat to a gateway, with pairs of header names and values.
func Chat(t *testing.T, g *live.Gateway, body string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/chat/completions", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	g.ServeHTTP(w, r)
	return w
}

// Authority returns a certificate that signs itself, and its key, as PEM.
func Authority(t *testing.T, name string) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	require.NoError(t, err)
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
}
