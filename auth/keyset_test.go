package auth_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/auth"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// provider is an issuer of keys.
type provider struct {
	mu      sync.Mutex
	body    string
	status  int
	fetches int
	paths   []string
}

func (p *provider) RoundTrip(r *http.Request) (*http.Response, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fetches++
	p.paths = append(p.paths, r.URL.String())
	if p.status == 0 {
		return nil, errors.New("down")
	}
	body := p.body
	if strings.HasSuffix(r.URL.Path, "openid-configuration") {
		body = `{"issuer":"https://op.example","jwks_uri":"https://op.example/keys"}`
	}
	return &http.Response{StatusCode: p.status, Body: io.NopCloser(strings.NewReader(body))}, nil
}

func (p *provider) set(status int, body string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status, p.body = status, body
}

func (p *provider) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fetches
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// jwkOf returns a new EC key as a JWK.
func jwkOf(t *testing.T, kid string) map[string]any {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	point, err := key.PublicKey.Bytes()
	require.NoError(t, err)
	return map[string]any{"kty": "EC", "crv": "P-256", "kid": kid, "use": "sig", "alg": "ES256", "x": b64(point[1:33]), "y": b64(point[33:])}
}

func setOf(t *testing.T, keys ...map[string]any) string {
	t.Helper()
	if keys == nil {
		keys = []map[string]any{}
	}
	text, err := json.Marshal(map[string]any{"keys": keys})
	require.NoError(t, err)
	return string(text)
}

func newKeySet(t *testing.T, p *provider, change func(*auth.KeySetConfig)) *auth.KeySet {
	t.Helper()
	cfg := auth.KeySetConfig{URL: "https://op.example/keys", Client: &http.Client{Transport: p}}
	if change != nil {
		change(&cfg)
	}
	k, err := auth.NewKeySet(cfg)
	require.NoError(t, err)
	return k
}

// run runs the set within a bubble and returns a function that stops it.
func run(k *auth.KeySet) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		_ = k.Run(ctx)
		close(done)
	}()
	synctest.Wait()
	return func() { cancel(); <-done }
}

func count(t *testing.T, k *auth.KeySet, kid string) int {
	t.Helper()
	keys, err := k.Keys(t.Context(), kid, "ES256")
	require.NoError(t, err)
	return len(keys)
}

func TestKeySetRotation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &provider{}
		a, b := jwkOf(t, "a"), jwkOf(t, "b")
		p.set(200, setOf(t, a))
		k := newKeySet(t, p, nil)
		_, err := k.Keys(t.Context(), "a", "ES256")
		require.ErrorIs(t, err, auth.ErrUnavailable, "Run is not running yet")
		defer run(k)()
		assert.Equal(t, 1, count(t, k, "a"))
		assert.Equal(t, 1, count(t, k, ""), "a token may have no key ID")
		generation := k.Generation()

		p.set(200, setOf(t, b))
		assert.Equal(t, 1, count(t, k, "b"), "an unknown key causes a fetch")
		assert.Zero(t, count(t, k, "a"), "a withdrawn key is gone")
		assert.NotEqual(t, generation, k.Generation())
		generation = k.Generation()
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		assert.Equal(t, generation, k.Generation(), "the same keys keep the generation")
	})
}

// Unknown key IDs cause at most one fetch in four seconds.
func TestKeySetUnknownKeys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &provider{}
		p.set(200, setOf(t, jwkOf(t, "a")))
		k := newKeySet(t, p, nil)
		defer run(k)()
		assert.Equal(t, 1, count(t, k, "a"))
		for range 300 {
			assert.Zero(t, count(t, k, "bogus"))
		}
		assert.LessOrEqual(t, p.count(), 2)
		time.Sleep(4 * time.Second)
		assert.Zero(t, count(t, k, "bogus"))
		assert.LessOrEqual(t, p.count(), 3)
	})
}

// Broken responses of a provider never replace good keys before MaxStale.
func TestKeySetBrokenProvider(t *testing.T) {
	t.Parallel()
	private := jwkOf(t, "p")
	private["d"] = private["x"]
	for name, response := range map[string]struct {
		status int
		body   string
	}{
		"down":           {0, ""},
		"500":            {500, ""},
		"garbage":        {200, "<html>"},
		"empty":          {200, setOf(t)},
		"nothing":        {200, ""},
		"only symmetric": {200, setOf(t, map[string]any{"kty": "oct", "k": b64(make([]byte, 32)), "kid": "a"})},
		"only private":   {200, setOf(t, private)},
		"for encryption": {200, setOf(t, map[string]any{"kty": "EC", "use": "enc", "kid": "a"})},
		"endless":        {200, `{"keys":[` + strings.Repeat(" ", 2<<20) + `]}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := &provider{}
				p.set(200, setOf(t, jwkOf(t, "a")))
				k := newKeySet(t, p, func(c *auth.KeySetConfig) { c.MaxStale = 10 * time.Minute })
				defer run(k)()
				require.Equal(t, 1, count(t, k, "a"))
				p.set(response.status, response.body)
				time.Sleep(5 * time.Minute)
				assert.Equal(t, 1, count(t, k, "a"))
				start := time.Now()
				for range 100 {
					assert.Zero(t, count(t, k, "bogus"))
				}
				assert.Zero(t, time.Since(start), "no request waits for a provider that is down")
				time.Sleep(10 * time.Minute)
				_, err := k.Keys(t.Context(), "a", "ES256")
				require.ErrorIs(t, err, auth.ErrUnavailable)
				p.set(200, setOf(t, jwkOf(t, "a")))
				time.Sleep(5 * time.Second)
				assert.Equal(t, 1, count(t, k, "a"), "it recovers by itself")
			})
		})
	}
}

func TestKeySetDownAtStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &provider{}
		k := newKeySet(t, p, nil)
		defer run(k)()
		synctest.Wait()
		_, err := k.Keys(t.Context(), "a", "ES256")
		require.ErrorIs(t, err, auth.ErrUnavailable)
		p.set(200, setOf(t, jwkOf(t, "a")))
		time.Sleep(3 * time.Second)
		assert.Equal(t, 1, count(t, k, "a"), "back within seconds")
	})
}

func TestKeySetDiscovery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &provider{}
		p.set(200, setOf(t, jwkOf(t, "a")))
		for issuer, want := range map[string]int{"https://op.example": 1, "https://other.example": 0} {
			k := newKeySet(t, p, func(c *auth.KeySetConfig) { c.URL, c.Issuer = "", issuer })
			stop := run(k)
			synctest.Wait()
			keys, _ := k.Keys(t.Context(), "a", "ES256")
			assert.Len(t, keys, want, issuer)
			stop()
		}
		assert.Contains(t, p.paths, "https://op.example/.well-known/openid-configuration")
		assert.Contains(t, p.paths, "https://op.example/keys")
	})
}

func TestKeySetFile(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	file := filepath.Join(t.TempDir(), "keys.pem")
	require.NoError(t, os.WriteFile(file, text, 0o600))
	k, err := auth.NewKeySet(auth.KeySetConfig{File: file})
	require.NoError(t, err)
	assert.Equal(t, 1, count(t, k, "any"), "PEM keys have no ID")

	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	_, err = auth.NewKeySet(auth.KeySetConfig{File: file})
	require.ErrorContains(t, err, "only public keys")
	require.NoError(t, os.WriteFile(file, []byte("hello"), 0o600))
	_, err = auth.NewKeySet(auth.KeySetConfig{File: file})
	require.ErrorContains(t, err, "neither a JWK set nor PEM")
}

func TestKeySetConfig(t *testing.T) {
	t.Parallel()
	for want, cfg := range map[string]auth.KeySetConfig{
		"exactly one":          {},
		"needs exactly one":    {URL: "https://a/k", Issuer: "https://a"},
		"URL: must be https":   {URL: "http://a.example/keys"},
		"URL: not a plain URL": {URL: "https://user:pw@a/keys"},
		"Issuer: not a":        {Issuer: "https://"},
		"negative":             {URL: "https://a/k", Refresh: -1},
		"no such file":         {File: "/nope"},
	} {
		_, err := auth.NewKeySet(cfg)
		require.ErrorContains(t, err, want)
		assert.NotContains(t, err.Error(), "pw")
	}
	_, err := auth.NewKeySet(auth.KeySetConfig{URL: "http://127.0.0.1:1/keys"})
	require.NoError(t, err)
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	_, err := auth.NewSecrets()
	require.Error(t, err)
	_, err = auth.NewSecrets([]byte("too short"))
	require.Error(t, err)
	assert.NotContains(t, err.Error(), "too short")
	s, err := auth.NewSecrets(make([]byte, 32))
	require.NoError(t, err)
	for alg, want := range map[string]int{"HS256": 1, "RS256": 0, "none": 0} {
		keys, err := s.Keys(t.Context(), "", alg)
		require.NoError(t, err)
		assert.Len(t, keys, want, alg)
	}
	assert.Zero(t, s.Generation())
}
