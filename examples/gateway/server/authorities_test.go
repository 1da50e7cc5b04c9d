package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ginfer/ginfer/ratelimit"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// authority makes a certificate that signs itself, and its key, as PEM.
func authority(t *testing.T, name string) (cert, key []byte) {
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

// An authority that was taken out of its file is believed no longer.
func TestAttackClientAuthorityReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := authority(t, "server")
	before, _ := authority(t, "before")
	after, _ := authority(t, "after")
	put := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, text, 0o600))
		return path
	}
	g, err := load(t, write(t, "my.json", fmt.Sprintf(`{%s, "groups": [{"path": "/", "stages": [], "upstream": "a"}],
		"public": {"tls": {"cert": %q, "key": %q, "client_ca": %q}}}`, upstreamA, put("cert", cert), put("key", key), put("ca", before))))
	require.NoError(t, err)
	seen := g.fingerprint()
	for _, text := range [][]byte{before, after, []byte("no certificate")} {
		put("ca", text)
		g.reload(t.Context(), &seen)
		want := x509.NewCertPool()
		if !want.AppendCertsFromPEM(text) { // refused; the one before stays
			want.AppendCertsFromPEM(after)
		}
		config, err := g.clientConfig(nil)
		require.NoError(t, err)
		assert.True(t, want.Equal(config.ClientCAs))
	}
	assert.Contains(t, g.files(), filepath.Join(dir, "ca"))
}

// A Redis that is slow has the time that the configuration gives it.
func TestAttackRedisTimeout(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = ln.Close() }() // it takes connections and never answers
	g, err := load(t, "")
	require.NoError(t, err)
	s, err := g.newStore(&Redis{Addresses: []string{ln.Addr().String()}, WhenDown: "deny", Timeout: Duration(400 * time.Millisecond)})
	require.NoError(t, err)
	defer s.close()
	begun := time.Now()
	require.ErrorIs(t, s.buckets.Take(t.Context(), []ratelimit.Charge{{Bucket: ratelimit.Bucket{Limit: "l", Key: "k", Rate: 1, Burst: 1}, Cost: 1}}), ratelimit.ErrUnavailable)
	assert.InDelta(t, 400, time.Since(begun).Milliseconds(), 150)
}

// Limits and tags have the names that the operator gives them.
func TestAttackNamesLikeFields(t *testing.T) {
	t.Parallel()
	_, err := load(t, write(t, "my.json", `{`+upstreamA+`, "limits": {"IP": {"unit": "requests", "by": "ip", "rate": "1/s"}},
		"groups": [{"path": "/", "upstream": "a", "limits": ["IP"], "wait": {"max": "1s", "priority": {"Master": 1}}}]}`))
	require.NoError(t, err)
}

// A configuration that is refused leaves no queue behind, which nothing could change then.
func TestAttackQueueOfARefusedConfig(t *testing.T) {
	t.Parallel()
	g, err := load(t, write(t, "my.json", fmt.Sprintf(`{%s, "queue": {"dir": %q},
		"groups": [{"path": "/", "queue": true, "routing": {"table": {"routes": [{"version": "zz"}]}}}]}`, upstreamA, filepath.Join(t.TempDir(), "queue"))))
	require.ErrorContains(t, err, `there is no upstream "zz"`)
	assert.Nil(t, g.work)
}
