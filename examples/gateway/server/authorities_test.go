package server_test

import (
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/ginfer/ginfer/examples/gateway/gatewaytest"
	"github.com/ginfer/ginfer/examples/gateway/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// An authority that was removed from its file is not trusted any longer.
func TestClientAuthorityReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := gatewaytest.Authority(t, "server")
	before, _ := gatewaytest.Authority(t, "before")
	after, _ := gatewaytest.Authority(t, "after")
	put := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, text, 0o600))
		return path
	}
	g, err := gatewaytest.Load(t, gatewaytest.Write(t, "my.json", fmt.Sprintf(`{%s, "groups": [{"path": "/", "stages": [], "upstream": "a"}],
		"public": {"tls": {"cert": %q, "key": %q, "client_ca": %q}}}`, gatewaytest.UpstreamA, put("cert", cert), put("key", key), put("ca", before))))
	require.NoError(t, err)
	w := server.NewWatcher(g)
	for _, text := range [][]byte{before, after, []byte("no certificate")} {
		put("ca", text)
		w.Reload(t.Context())
		want := x509.NewCertPool()
		if !want.AppendCertsFromPEM(text) { // refused; the one before stays
			want.AppendCertsFromPEM(after)
		}
		config, err := g.ClientConfig(nil)
		require.NoError(t, err)
		assert.True(t, want.Equal(config.ClientCAs))
	}
	assert.Contains(t, w.Files(), filepath.Join(dir, "ca"))
}
