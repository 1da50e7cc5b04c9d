package auth_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/auth"
	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// source is a Keys by algorithm.
type source struct {
	keys       map[string][]any
	err        error
	generation uint64
	calls      int
}

func (s *source) Keys(_ context.Context, _, alg string) ([]any, error) {
	s.calls++
	return s.keys[alg], s.err
}

func (s *source) Generation() uint64 { return s.generation }

var algorithms = []string{"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// signer signs tokens with a different key for each algorithm.
type signer struct {
	private map[string]any
	source  *source
}

func newSigner(tb testing.TB) *signer {
	tb.Helper()
	secret := make([]byte, 64)
	_, _ = rand.Read(secret)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(tb, err)
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(tb, err)
	s := &signer{private: map[string]any{"EdDSA": edKey}, source: &source{keys: map[string][]any{"EdDSA": {edKey.Public()}}}}
	for alg, curve := range map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		require.NoError(tb, err)
		s.private[alg], s.source.keys[alg] = key, []any{key.Public()}
	}
	for _, bits := range []string{"256", "384", "512"} {
		s.private["HS"+bits], s.source.keys["HS"+bits] = secret, []any{secret}
		for _, kind := range []string{"RS", "PS"} {
			s.private[kind+bits], s.source.keys[kind+bits] = rsaKey, []any{rsaKey.Public()}
		}
	}
	return s
}

func claims() jwt.MapClaims {
	now := time.Now()
	return jwt.MapClaims{"iss": "https://op.example", "aud": "api", "sub": "alice", "exp": now.Add(time.Hour).Unix(), "iat": now.Unix(), "tenant": "acme", "scope": "r w", "tags": []string{"staff"}, "models": []string{"m*"}}
}

// token signs claims, with additional header fields.
func (s *signer) token(tb testing.TB, alg string, c jwt.MapClaims, header map[string]any) string {
	tb.Helper()
	t := jwt.NewWithClaims(jwt.GetSigningMethod(alg), c)
	maps.Copy(t.Header, header)
	text, err := t.SignedString(s.private[alg])
	require.NoError(tb, err)
	return text
}

// raw signs a header and claims verbatim.
func (s *signer) raw(tb testing.TB, header, claims string) string {
	tb.Helper()
	text := b64([]byte(header)) + "." + b64([]byte(claims))
	signature, err := jwt.GetSigningMethod("HS256").Sign(text, s.private["HS256"])
	require.NoError(tb, err)
	return text + "." + b64(signature)
}

func newJWT(tb testing.TB, s *source, change func(*auth.JWTConfig)) *auth.JWT {
	tb.Helper()
	cfg := auth.JWTConfig{Keys: s, Algorithms: algorithms, Issuer: "https://op.example", Audience: "api"}
	if change != nil {
		change(&cfg)
	}
	v, err := auth.NewJWT(cfg)
	require.NoError(tb, err)
	return v
}

func TestJWTAlgorithms(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	v := newJWT(t, s.source, nil)
	for _, alg := range algorithms {
		c := claims()
		id, err := v.Verify(bearer(t.Context(), s.token(t, alg, c, map[string]any{"kid": "k"})))
		require.NoError(t, err, alg)
		exp := c["exp"].(int64)
		assert.Equal(t, &auth.Identity{
			Subject: "alice", Issuer: "https://op.example", Tenant: "acme", Scopes: []string{"r", "w"},
			Tags: []string{"staff"}, Models: []string{"m*"}, Expires: time.Unix(exp, 0), Method: "jwt",
		}, id, alg)
		only := newJWT(t, s.source, func(c *auth.JWTConfig) {
			c.Algorithms = []string{map[bool]string{true: "RS256", false: "ES256"}[alg != "RS256"]}
		})
		_, err = only.Verify(bearer(t.Context(), s.token(t, alg, claims(), nil)))
		require.ErrorIs(t, err, auth.ErrInvalid, "%s is not allowed", alg)
	}
}

// Known attacks against JWT libraries.
func TestJWTForgeries(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	with := func(change func(jwt.MapClaims)) string {
		c := claims()
		change(c)
		return s.token(t, "HS256", c, nil)
	}
	header := func(fields map[string]any) string { return s.token(t, "HS256", claims(), fields) }
	good := s.token(t, "ES256", claims(), nil)
	text, err := json.Marshal(claims())
	require.NoError(t, err)
	none, err := jwt.NewWithClaims(jwt.SigningMethodNone, claims()).SignedString(jwt.UnsafeAllowNoneSignatureType)
	require.NoError(t, err)
	parts := strings.Split(good, ".")
	other := newSigner(t)
	ago := func(d time.Duration) int64 { return time.Now().Add(-d).Unix() }
	for name, token := range map[string]string{
		"none":                  none,
		"none in another case":  b64([]byte(`{"alg":"nOnE"}`)) + "." + parts[1] + ".",
		"no signature":          parts[0] + "." + parts[1] + ".",
		"another's signature":   other.token(t, "ES256", claims(), nil),
		"another's claims":      parts[0] + "." + strings.Split(s.token(t, "ES256", claims(), map[string]any{"x": 1}), ".")[1][1:] + "." + parts[2],
		"a bit in the claims":   parts[0] + "." + parts[1][:10] + "A" + parts[1][11:] + "." + parts[2],
		"signature cut":         good[:len(good)-4],
		"unknown algorithm":     s.raw(t, `{"alg":"HS1024"}`, string(text)),
		"algorithm not a name":  s.raw(t, `{"alg":["HS256"]}`, string(text)),
		"two algorithms":        s.raw(t, `{"alg":"none","alg":"HS256"}`, string(text)),
		"algorithm twice":       s.raw(t, `{"alg":"HS256","ALG":"none"}`, string(text)),
		"crit":                  header(map[string]any{"crit": []string{"exp"}}),
		"own key":               header(map[string]any{"jwk": map[string]string{"kty": "oct"}}),
		"key by address":        header(map[string]any{"jku": "https://evil.example/keys"}),
		"certificate":           header(map[string]any{"x5c": []string{"MII"}}),
		"certificate's address": header(map[string]any{"x5u": "https://evil.example"}),
		"detached":              header(map[string]any{"b64": false}),
		"packed":                header(map[string]any{"zip": "DEF"}),
		"key name not a name":   header(map[string]any{"kid": 7}),
		"expired":               with(func(c jwt.MapClaims) { c["exp"] = ago(time.Hour) }),
		"no expiry":             with(func(c jwt.MapClaims) { delete(c, "exp") }),
		"expiry of null":        with(func(c jwt.MapClaims) { c["exp"] = nil }),
		"expiry as text":        with(func(c jwt.MapClaims) { c["exp"] = "never" }),
		"not yet":               with(func(c jwt.MapClaims) { c["nbf"] = ago(-time.Hour) }),
		"from the future":       with(func(c jwt.MapClaims) { c["iat"] = ago(-time.Hour) }),
		"another issuer":        with(func(c jwt.MapClaims) { c["iss"] = "https://evil.example" }),
		"no issuer":             with(func(c jwt.MapClaims) { delete(c, "iss") }),
		"issuer's beginning":    with(func(c jwt.MapClaims) { c["iss"] = "https://op.example.evil" }),
		"another audience":      with(func(c jwt.MapClaims) { c["aud"] = []string{"other"} }),
		"no audience":           with(func(c jwt.MapClaims) { delete(c, "aud") }),
		"no subject":            with(func(c jwt.MapClaims) { delete(c, "sub") }),
		"an empty subject":      with(func(c jwt.MapClaims) { c["sub"] = "" }),
		"subject not a string":  with(func(c jwt.MapClaims) { c["sub"] = 7 }),
		"models of null":        with(func(c jwt.MapClaims) { c["models"] = nil }),
		"scopes of numbers":     with(func(c jwt.MapClaims) { c["scope"] = []int{1} }),
		"subject twice":         s.raw(t, `{"alg":"HS256"}`, strings.Replace(string(text), `"sub"`, `"sub":"bob","Sub"`, 1)),
		"two texts of claims":   s.raw(t, `{"alg":"HS256"}`, string(text)+"{}"),
		"claims not an object":  s.raw(t, `{"alg":"HS256"}`, `["iss"]`),
		"padding":               parts[0] + "=." + parts[1] + "." + parts[2],
		"very long":             s.raw(t, `{"alg":"HS256"}`, strings.Repeat(" ", 9000)+string(text)),
	} {
		v := newJWT(t, s.source, nil)
		id, err := v.Verify(bearer(t.Context(), token))
		require.Error(t, err, name)
		if !errors.Is(err, auth.ErrNoCredential) {
			require.ErrorIs(t, err, auth.ErrInvalid, name)
		}
		assert.Nil(t, id, name)
		assert.NotContains(t, err.Error(), token[:min(len(token), 20)], name)
	}
	for name, token := range map[string]string{"opaque": "abc", "two dots": "a.b.c", "not JSON": b64([]byte("hi")) + ".b.c", "JSON, no algorithm": b64([]byte("{}")) + ".b.c", "encrypted": "a.b.c.d.e"} {
		_, err := newJWT(t, s.source, nil).Verify(bearer(t.Context(), token))
		require.ErrorIs(t, err, auth.ErrNoCredential, name)
	}
}

// A public key never verifies as a secret, and weak or mismatched keys never verify.
func TestJWTKeyConfusion(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	public := func(key crypto.Signer) any { return key.Public() }
	for name, tt := range map[string]struct {
		alg  string
		keys []any
	}{
		"RSA for HMAC":        {"HS256", s.source.keys["RS256"]},
		"a secret for RSA":    {"RS256", s.source.keys["HS256"]},
		"a short secret":      {"HS256", []any{[]byte("short")}},
		"a short RSA key":     {"RS256", []any{public(weak)}},
		"EC of another curve": {"ES256", s.source.keys["ES384"]},
		"EC for EdDSA":        {"EdDSA", s.source.keys["ES256"]},
		"no key":              {"ES256", nil},
		"something else":      {"ES256", []any{"key"}},
	} {
		v := newJWT(t, &source{keys: map[string][]any{tt.alg: tt.keys}}, nil)
		_, err := v.Verify(bearer(t.Context(), s.token(t, tt.alg, claims(), nil)))
		require.ErrorIs(t, err, auth.ErrInvalid, name)
	}
	down := newJWT(t, &source{err: errors.New("down")}, nil)
	_, err = down.Verify(bearer(t.Context(), s.token(t, "ES256", claims(), nil)))
	require.ErrorIs(t, err, auth.ErrUnavailable)
	several := &source{keys: map[string][]any{"ES256": append(newSigner(t).source.keys["ES256"], s.source.keys["ES256"]...)}}
	_, err = newJWT(t, several, nil).Verify(bearer(t.Context(), s.token(t, "ES256", claims(), nil)))
	require.NoError(t, err, "every key that fits is used")
}

// No other spelling of a valid token is accepted.
func TestJWTMutations(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	v := newJWT(t, s.source, func(c *auth.JWTConfig) { c.CacheTTL = -1 })
	token := s.token(t, "ES256", claims(), nil)
	_, err := v.Verify(bearer(t.Context(), token))
	require.NoError(t, err)
	for i := range len(token) {
		for _, c := range []byte{'A', 'b', '_', '=', '/'} {
			if token[i] == c {
				continue
			}
			_, err := v.Verify(bearer(t.Context(), token[:i]+string(c)+token[i+1:]))
			require.Error(t, err, "byte %d as %c", i, c)
		}
	}
}

func TestJWTCache(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSigner(t)
		v := newJWT(t, s.source, nil)
		calls := func(token string) int {
			before := s.source.calls
			_, _ = v.Verify(bearer(t.Context(), token))
			return s.source.calls - before
		}
		token := s.token(t, "ES256", claims(), nil)
		assert.Equal(t, 1, calls(token))
		assert.Zero(t, calls(token))
		s.source.generation++
		assert.Equal(t, 1, calls(token), "the keys changed")
		assert.Zero(t, calls(token))
		time.Sleep(time.Minute)
		assert.Equal(t, 1, calls(token))

		c := claims()
		c["exp"] = time.Now().Add(20 * time.Second).Unix()
		short := s.token(t, "ES256", c, nil)
		_, err := v.Verify(bearer(t.Context(), short))
		require.NoError(t, err)
		time.Sleep(49 * time.Second)
		_, err = v.Verify(bearer(t.Context(), short))
		require.NoError(t, err, "within the leeway")
		time.Sleep(2 * time.Second)
		_, err = v.Verify(bearer(t.Context(), short))
		require.ErrorIs(t, err, auth.ErrInvalid, "cached until it expires at most")
		c = claims()
		delete(c, "sub")
		bad := s.token(t, "ES256", c, nil)
		assert.Equal(t, 1, calls(bad))
		assert.Equal(t, 1, calls(bad), "bad tokens are not cached")
	})
}

func TestJWTConfig(t *testing.T) {
	t.Parallel()
	_, err := auth.NewJWT(auth.JWTConfig{Algorithms: []string{"none", "HS1"}, Leeway: time.Hour, CacheSize: -1})
	for _, want := range []string{"Keys is required", `"none" is unknown`, `"HS1" is unknown`, "Issuer and Audience", "Leeway", "CacheSize"} {
		require.ErrorContains(t, err, want)
	}
	_, err = auth.NewJWT(auth.JWTConfig{})
	require.ErrorContains(t, err, "Algorithms is required")
}

func FuzzJWT(f *testing.F) {
	s := newSigner(f)
	token := s.token(f, "HS256", claims(), nil)
	f.Add(token)
	f.Add(b64([]byte(`{"alg":"none"}`)) + ".e30.")
	v := newJWT(f, s.source, nil)
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := v.Verify(bearer(t.Context(), text)); err == nil && strings.Trim(text, " ") != token {
			t.Fatalf("accepted: %q", text)
		}
	})
}

func BenchmarkJWT(b *testing.B) {
	s := newSigner(b)
	for _, alg := range []string{"HS256", "RS256", "ES256", "EdDSA"} {
		r := bearer(b.Context(), s.token(b, alg, claims(), nil))
		for name, ttl := range map[string]time.Duration{"verified": -1, "cached": 0} {
			b.Run(alg+"/"+name, func(b *testing.B) {
				v := newJWT(b, s.source, func(c *auth.JWTConfig) { c.CacheTTL = ttl })
				b.ReportAllocs()
				for b.Loop() {
					if _, err := v.Verify(r); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
