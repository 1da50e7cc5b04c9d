package e2e_test

import (
	"bytes"
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
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// newKey makes a key with the command "gateway key".
func newKey(t *testing.T, args ...string) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command(gatewayBinary, append([]string{"key"}, args...)...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	return strings.TrimSpace(string(out))
}

// echoUpstream is an upstream that returns the headers of the request in its response.
func echoUpstream(t *testing.T) *httptest.Server {
	t.Helper()
	s := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"Authorization", "X-Api-Key", "X-User", "X-Tenant", "X-Signed"} {
			w.Header().Set("Got-"+name, strings.Join(r.Header[name], ","))
		}
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Ratelimit-Remaining-Requests", "a provider's")
		_, _ = io.WriteString(w, `{"choices":[{"message":{"content":"hi"}}],"usage":{"prompt_tokens":10,"completion_tokens":20,"total_tokens":30}}`)
	}))
	return s
}

const smallChat = `{"model":"small-1","messages":[{"role":"user","content":"hi"}],"max_tokens":50}`

// Keys that the command made are valid at once, without a restart. What they do not permit
// is refused. Upstreams receive the configured headers and no credential.
func TestKeys(t *testing.T) {
	t.Parallel()
	upstream := echoUpstream(t)
	file := filepath.Join(t.TempDir(), "keys.json")
	chat := newKey(t, "-file", file, "-subject", "alice", "-tenant", "acme", "-scopes", "chat,batch", "-models", "small-*")
	p := start(t, fmt.Sprintf(`{%s, "auth": {"keys": %q, "forward": {"subject": "X-User", "tenant": "X-Tenant"}},
		"upstreams": {"a": {"endpoints": [{"url": %q}]}}, "groups": [{"path": "/v1", "upstream": "a", "scopes": ["chat"]}]}`, ports, file, upstream.URL))
	assert.Equal(t, "$KEY", p.token)
	client := newClient(t, 1)
	for _, header := range [][]string{{"Authorization", "Bearer " + chat}, {"Authorization", "bearer " + chat}, {"X-Api-Key", chat}} {
		res := p.sendChat(client, smallChat, append(header, "X-User", "mallory", "x_user", "mallory", "Connection", "X-User")...)
		require.Equal(t, http.StatusOK, res.StatusCode)
		assert.Equal(t, "alice", res.Header.Get("Got-X-User"))
		assert.Equal(t, "acme", res.Header.Get("Got-X-Tenant"))
		assert.Empty(t, res.Header.Get("Got-Authorization")+res.Header.Get("Got-X-Api-Key"), "credentials are not forwarded")
	}
	res := p.sendChat(client, strings.Replace(smallChat, "small-1", "large", 1), "X-Api-Key", chat)
	assert.Equal(t, http.StatusForbidden, res.StatusCode, "another model")
	res = p.sendChat(client, strings.Replace(smallChat, "{", `{"model":"large",`, 1), "X-Api-Key", chat)
	assert.Equal(t, http.StatusBadRequest, res.StatusCode, "two models")
	other := newKey(t, "-file", file, "-subject", "bob", "-scopes", "batch")
	require.Eventually(t, func() bool {
		return p.sendChat(client, smallChat, "X-Api-Key", other).StatusCode != http.StatusUnauthorized
	}, 15*time.Second, 100*time.Millisecond)
	res = p.sendChat(client, smallChat, "X-Api-Key", other)
	assert.Equal(t, http.StatusForbidden, res.StatusCode)
	assert.Contains(t, res.Header.Get("WWW-Authenticate"), `error="insufficient_scope"`)
	for name, header := range map[string][]string{
		"none": nil, "a wrong one": {"X-Api-Key", chat + "x"}, "two": {"X-Api-Key", chat, "Authorization", "Bearer " + other}, "in another scheme": {"Authorization", "Basic " + chat},
	} {
		assert.Equal(t, http.StatusUnauthorized, p.sendChat(client, smallChat, header...).StatusCode, name)
	}
	require.NoError(t, os.WriteFile(file, []byte(`{"keys": [{}]}`), 0o600))
	require.Eventually(t, func() bool { return strings.Contains(p.stderr.String(), "keys rejected") }, 15*time.Second, 50*time.Millisecond)
	assert.Equal(t, http.StatusOK, p.sendChat(client, smallChat, "X-Api-Key", chat).StatusCode, "the previous keys stay valid")
	for _, secret := range []string{chat, other} {
		assert.NotContains(t, p.stderr.String(), secret)
	}
}

func TestKeyCommandFaults(t *testing.T) {
	for _, args := range [][]string{{}, {"-file", "x"}, {"-subject", "a"}, {"-file", "x", "-subject", "a", "more"}, {"-nope"}, {"-file", "x", "-subject", "a", "-for", "-1h"}} {
		cmd := exec.Command(gatewayBinary, append([]string{"key"}, args...)...)
		cmd.Dir = t.TempDir()
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit, args)
		assert.Equal(t, 2, exit.ExitCode())
		assert.Contains(t, string(out), "-subject")
	}
	file := filepath.Join(t.TempDir(), "keys.json")
	require.NoError(t, os.WriteFile(file, []byte("not keys"), 0o600))
	require.Error(t, exec.Command(gatewayBinary, "key", "-file", file, "-subject", "a").Run())
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, "not keys", string(text), "an invalid file is not overwritten")
}

// Tokens signed with a shared secret; client addresses behind a trusted proxy.
func TestJWTAndAddresses(t *testing.T) {
	t.Setenv("GATEWAY_TEST_SECRET", "a secret of thirty-two bytes or more")
	upstream := echoUpstream(t)
	p := start(t, fmt.Sprintf(`{%s, "trusted_proxies": ["127.0.0.0/8"],
		"auth": {"jwt": [{"issuer": "op", "audience": "api", "secret": "${GATEWAY_TEST_SECRET}"}],
			"forward": {"signed": "X-Signed", "secret": "${GATEWAY_TEST_SECRET}", "issuer": "gateway", "audience": "upstream"}},
		"upstreams": {"a": {"endpoints": [{"url": %q}]}}, "groups": [{"path": "/v1", "upstream": "a", "ip": {"allow": ["198.51.100.0/24"]}}]}`, ports, upstream.URL))
	sign := func(claims jwt.MapClaims) string {
		token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte("a secret of thirty-two bytes or more"))
		require.NoError(t, err)
		return "Bearer " + token
	}
	good := jwt.MapClaims{"iss": "op", "aud": "api", "sub": "alice", "exp": time.Now().Add(time.Hour).Unix()}
	client := newClient(t, 1)
	res := p.sendChat(client, smallChat, "Authorization", sign(good), "X-Forwarded-For", "203.0.113.9, 198.51.100.7")
	require.Equal(t, http.StatusOK, res.StatusCode)
	claims := jwt.MapClaims{}
	_, err := jwt.ParseWithClaims(res.Header.Get("Got-X-Signed"), claims, func(*jwt.Token) (any, error) { return []byte("a secret of thirty-two bytes or more"), nil }, jwt.WithAudience("upstream"), jwt.WithIssuer("gateway"))
	require.NoError(t, err)
	assert.Equal(t, "alice", claims["sub"])
	res = p.sendChat(client, smallChat, "Authorization", sign(good), "X-Forwarded-For", "198.51.100.7, 203.0.113.9")
	assert.Equal(t, http.StatusForbidden, res.StatusCode, "addresses that the client wrote are ignored")
	bad := jwt.MapClaims{"iss": "op", "aud": "api", "sub": "alice", "exp": time.Now().Add(-time.Hour).Unix()}
	res = p.sendChat(client, smallChat, "Authorization", sign(bad), "X-Forwarded-For", "198.51.100.7")
	assert.Equal(t, http.StatusUnauthorized, res.StatusCode)
	assert.Contains(t, res.Header.Get("WWW-Authenticate"), `error="invalid_token"`)
}

// signedBy returns a client certificate, and writes the certificate of its CA to a file.
func signedBy(t *testing.T, file, name string) tls.Certificate {
	t.Helper()
	key := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		return k
	}
	caKey, clientKey := key(), key()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	caCert, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	require.NoError(t, err)
	if file != "" {
		require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caCert}), 0o600))
	}
	client := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, client, ca, &clientKey.PublicKey, caKey)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{cert}, PrivateKey: clientKey}
}

func TestClientCertificates(t *testing.T) {
	upstream := echoUpstream(t)
	dir := t.TempDir()
	certificate(t, dir, 1)
	authority := filepath.Join(dir, "ca.crt")
	alice := signedBy(t, authority, "alice")
	stranger := signedBy(t, "", "alice")
	p := start(t, fmt.Sprintf(`{"public": {"address": "127.0.0.1:0", "tls": {"cert": %q, "key": %q, "client_ca": %q}}, "private": {"address": "127.0.0.1:0"},
		"auth": {"certificates": true, "forward": {"subject": "X-User"}},
		"upstreams": {"a": {"endpoints": [{"url": %q}]}}, "groups": [{"path": "/v1", "upstream": "a"}]}`,
		filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"), authority, upstream.URL))
	client := func(certs ...tls.Certificate) *http.Client {
		transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if len(certs) == 0 {
				return new(tls.Certificate), nil
			}
			return &certs[0], nil
		}}}
		t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Transport: transport}
	}
	res := p.sendChat(client(alice), smallChat)
	assert.Equal(t, http.StatusOK, res.StatusCode)
	assert.Equal(t, "HTTP/2.0", res.Proto)
	assert.Equal(t, "alice", res.Header.Get("Got-X-User"))
	assert.Equal(t, http.StatusUnauthorized, p.sendChat(client(), smallChat).StatusCode, "without a certificate")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.public, nil)
	require.NoError(t, err)
	refused, err := client(stranger).Do(req)
	if err == nil {
		_ = refused.Body.Close()
	}
	require.Error(t, err, "signed by another CA")
}
