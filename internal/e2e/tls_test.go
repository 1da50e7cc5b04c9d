package e2e_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// certificate writes a new certificate for 127.0.0.1 and its key as PEM files.
func certificate(t *testing.T, dir string, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "gateway"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	secret, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	for name, block := range map[string]*pem.Block{"tls.crt": {Type: "CERTIFICATE", Bytes: cert}, "tls.key": {Type: "EC PRIVATE KEY", Bytes: secret}} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600))
	}
}

// HTTPS works with HTTP/2. A renewed certificate is served without a restart, an invalid one
// is refused.
func TestTLS(t *testing.T) {
	upstream := okUpstream(t)
	dir := t.TempDir()
	certificate(t, dir, 1)
	public := fmt.Sprintf(`"public": {"address": "127.0.0.1:0", "tls": {"cert": %q, "key": %q}}`, filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"))
	p := start(t, strings.Replace(twoVersions(upstream.URL, upstream.URL, [2]int{1, 1}), `"public": {"address": "127.0.0.1:0"}`, public, 1))
	require.True(t, strings.HasPrefix(p.public, "https://"))

	serial := func() int64 {
		transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
		defer transport.CloseIdleConnections()
		res, err := p.chat(&http.Client{Transport: transport}, "a", `{"model":"demo"}`)
		require.NoError(t, err)
		defer func() { _ = res.Body.Close() }()
		_, err = io.Copy(io.Discard, res.Body)
		require.NoError(t, err)
		assert.Equal(t, http.StatusOK, res.StatusCode)
		assert.Equal(t, "HTTP/2.0", res.Proto)
		return res.TLS.PeerCertificates[0].SerialNumber.Int64()
	}
	require.EqualValues(t, 1, serial())
	certificate(t, dir, 2)
	require.Eventually(t, func() bool { return serial() == 2 }, 10*time.Second, 20*time.Millisecond)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tls.crt"), []byte("broken"), 0o600))
	require.Eventually(t, func() bool { return strings.Contains(p.stderr.String(), "certificate refused") }, 10*time.Second, 20*time.Millisecond)
	require.EqualValues(t, 2, serial())
}

// Slow heads are disconnected, long heads refused.
func TestSlowAndGreedyClients(t *testing.T) {
	upstream := okUpstream(t)
	public := `"public": {"address": "127.0.0.1:0", "header_timeout": "200ms", "max_header_bytes": 4096}`
	p := start(t, strings.Replace(twoVersions(upstream.URL, upstream.URL, [2]int{1, 1}), `"public": {"address": "127.0.0.1:0"}`, public, 1))
	slow := p.dial("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n")
	_, err := io.ReadAll(slow)
	require.NoError(t, err, "closed by the gateway, not by our deadline")
	greedy := p.dial("GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 10_000) + "\r\n\r\n")
	response := make([]byte, 12)
	_, err = io.ReadFull(greedy, response)
	require.NoError(t, err)
	assert.Equal(t, "HTTP/1.1 431", string(response))
}

// The private port can require client certificates, too.
func TestPrivatePortWantsACertificate(t *testing.T) {
	upstream := okUpstream(t)
	dir := t.TempDir()
	certificate(t, dir, 1)
	crt, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	p := start(t, strings.Replace(twoVersions(upstream.URL, upstream.URL, [2]int{1, 1}), `"private": {"address": "127.0.0.1:0"}`,
		fmt.Sprintf(`"private": {"address": "127.0.0.1:0", "tls": {"cert": %q, "key": %q, "client_ca": %q}}`, crt, key, crt), 1))
	require.True(t, strings.HasPrefix(p.private, "https://"), p.private)
	scrape := func(own ...tls.Certificate) (int, error) {
		transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: own}}
		defer transport.CloseIdleConnections()
		res, err := (&http.Client{Transport: transport}).Get(p.private + "/metrics")
		if err != nil {
			return 0, err
		}
		return res.StatusCode, res.Body.Close()
	}
	_, err := scrape()
	require.Error(t, err)
	own, err := tls.LoadX509KeyPair(crt, key)
	require.NoError(t, err)
	code, err := scrape(own)
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, code)
}
