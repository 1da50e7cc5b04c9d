package jwk_test

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/ginfer/ginfer/internal/jwk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// ec returns a good key with members changed; nil removes one.
func ec(t *testing.T, change map[string]any) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	point, err := key.PublicKey.Bytes()
	require.NoError(t, err)
	b64 := base64.RawURLEncoding.EncodeToString
	m := map[string]any{"kty": "EC", "crv": "P-256", "x": b64(point[1:33]), "y": b64(point[33:])}
	for name, v := range change {
		if m[name] = v; v == nil {
			delete(m, name)
		}
	}
	text, err := json.Marshal(map[string]any{"keys": []any{m}})
	require.NoError(t, err)
	return string(text)
}

// A key is used only for its declared purpose.
func TestKeyMembers(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change map[string]any
		good   bool
	}{
		"plain":                 {nil, true},
		"to sign":               {map[string]any{"use": "sig"}, true},
		"to encrypt":            {map[string]any{"use": "enc"}, false},
		"for something else":    {map[string]any{"use": "tls"}, false},
		"to verify":             {map[string]any{"key_ops": []string{"verify"}}, true},
		"to derive":             {map[string]any{"key_ops": []string{"deriveKey"}}, false},
		"to do nothing":         {map[string]any{"key_ops": []string{}}, false},
		"operations not a list": {map[string]any{"key_ops": "verify"}, false},
		"of an algorithm":       {map[string]any{"alg": "ES256"}, true},
		"private":               {map[string]any{"d": "AAAA"}, false},
		"no curve":              {map[string]any{"crv": nil}, false},
		"another curve":         {map[string]any{"crv": "P-384"}, false},
		"a curve of coins":      {map[string]any{"crv": "secp256k1"}, false},
		"no y":                  {map[string]any{"y": nil}, false},
		"off the curve":         {map[string]any{"x": "AQ", "y": "AQ"}, false},
		"at infinity":           {map[string]any{"x": "AA", "y": "AA"}, false},
		"a chain elsewhere":     {map[string]any{"x5u": "https://evil.example/chain"}, true},
		"name not a name":       {map[string]any{"kid": 7}, false},
	} {
		keys, err := jwk.ParseSet([]byte(ec(t, tt.change)))
		if !tt.good {
			require.ErrorIs(t, err, jwk.ErrNoKeys, name)
			continue
		}
		require.NoError(t, err, name)
		require.Len(t, keys, 1, name)
	}
	keys, err := jwk.ParseSet([]byte(ec(t, map[string]any{"alg": "ES512", "kid": "a"})))
	require.NoError(t, err)
	assert.Equal(t, "ES512", keys[0].Algorithm)
	assert.Equal(t, "a", keys[0].ID)
}

// RSA keys with which anyone can sign.
func TestWeakRSA(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	n := base64.RawURLEncoding.EncodeToString(key.N.Bytes())
	for e, good := range map[string]bool{"AQAB": true, "AQ": false, "AA": false, "AQAAAAAAAQAB": false, "gAAAAQ": false, "": false} {
		keys, err := jwk.ParseSet([]byte(`{"keys":[{"kty":"RSA","n":"` + n + `","e":"` + e + `"}]}`))
		assert.Equal(t, good, err == nil && len(keys) == 1, "e of %q", e)
	}
}

func TestTooManyKeys(t *testing.T) {
	t.Parallel()
	_, err := jwk.ParseSet([]byte(`{"keys":[` + strings.Repeat("{},", 100) + `{}]}`))
	require.ErrorContains(t, err, "more than 100")
}

func block(t *testing.T, kind string, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func TestParsePEM(t *testing.T) {
	t.Parallel()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	exchange, err := ecdh.X25519().GenerateKey(rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	good := block(t, "PUBLIC KEY", public)
	keys, err := jwk.ParsePEM(append(good, good...))
	require.NoError(t, err)
	assert.Equal(t, []jwk.Key{{Public: public}, {Public: public}}, keys)
	for want, text := range map[string][]byte{
		"only public keys":   pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
		"not an RSA, EC":     block(t, "PUBLIC KEY", exchange.PublicKey()),
		"PUBLIC KEY: ":       pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")}),
		"RSA PUBLIC KEY: ":   pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: []byte("x")}),
		"CERTIFICATE: ":      pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}),
		"more than 100 keys": []byte(strings.Repeat(string(good), 101)),
	} {
		_, err := jwk.ParsePEM(append(good, text...))
		require.ErrorContains(t, err, want)
	}
}

func FuzzParsePEM(f *testing.F) {
	f.Add("-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n")
	f.Add("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
	f.Fuzz(func(t *testing.T, text string) {
		keys, err := jwk.ParsePEM([]byte(text))
		if (err == nil) != (len(keys) > 0) {
			t.Fatal("keys and error do not fit")
		}
		for _, k := range keys {
			if k.Public == nil || k.ID != "" {
				t.Fatal("PEM keys have no ID")
			}
		}
	})
}
