package auth_test

import (
	"context"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/auth"
	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const byteOrderMark = "\xef\xbb\xbf"

// negotiating serves documents of one media type, and 406 to clients that do not accept it.
func negotiating(t *testing.T, kind string, documents map[string]string) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		media, _, _ := strings.Cut(kind, ";")
		accepted := false
		for one := range strings.SplitSeq(r.Header.Get("Accept"), ",") {
			one, _, _ = strings.Cut(strings.TrimSpace(one), ";")
			accepted = accepted || one == media || one == "*/*"
		}
		if !accepted {
			w.WriteHeader(http.StatusNotAcceptable)
			return
		}
		w.Header()["Content-Type"] = []string{kind}
		_, _ = w.Write([]byte(strings.ReplaceAll(documents[r.URL.Path], "ISSUER", "http://"+r.Host)))
	}))
	t.Cleanup(s.Close)
	return s
}

// Documents are read whatever media type the provider gives them.
func TestDocumentsOfAnyMediaType(t *testing.T) {
	t.Parallel()
	set := setOf(t, map[string]any{"kty": "unknown", "kid": "x"}, map[string]any{"kty": "RSA", "kid": "e", "use": "enc", "n": "AQAB", "e": "AQAB"},
		map[string]any{"kty": "RSA", "kid": "alg", "alg": "none of these", "n": 5}, jwkOf(t, "a"))
	forms := map[string]string{"plain": set, "a byte order mark": byteOrderMark + set, "white space": "\r\n\t " + set + "\n\n"}
	for _, kind := range []string{"application/jwk-set+json", "application/json", "application/json; charset=utf-8", "text/plain", "application/octet-stream", "application/x-jwks", ""} {
		for form, document := range forms {
			t.Run(kind+", "+form, func(t *testing.T) {
				t.Parallel()
				s := negotiating(t, kind, map[string]string{
					"/keys":                             document,
					"/.well-known/openid-configuration": byteOrderMark + `{"issuer":"ISSUER","jwks_uri":"ISSUER/keys","scopes_supported":null}`,
				})
				for _, cfg := range []auth.KeySetConfig{{URL: s.URL + "/keys"}, {Issuer: s.URL}} {
					fetched := make(chan error, 1)
					cfg.OnEvent = func(_ context.Context, e auth.KeysEvent) {
						select {
						case fetched <- e.Err:
						default:
						}
					}
					k, err := auth.NewKeySet(cfg)
					require.NoError(t, err)
					ctx, cancel := context.WithCancel(t.Context())
					done := make(chan error, 1)
					go func() { done <- k.Run(ctx) }()
					require.NoError(t, <-fetched)
					keys, err := k.Keys(t.Context(), "a", "ES256")
					cancel()
					require.NoError(t, <-done)
					require.NoError(t, err)
					assert.Len(t, keys, 1)
				}
			})
		}
	}
	file := filepath.Join(t.TempDir(), "keys.json")
	require.NoError(t, os.WriteFile(file, []byte(byteOrderMark+set), 0o600))
	_, err := auth.NewKeySet(auth.KeySetConfig{File: file})
	assert.NoError(t, err)
}

// Claims in every form that the RFCs allow identify the caller.
func TestClaimsOfAnyForm(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	v := newJWT(t, s.source, nil)
	aud := claims()["aud"]
	soon := float64(time.Now().Add(time.Hour).Unix())
	for name, tt := range map[string]struct {
		set    jwt.MapClaims
		scopes []string
	}{
		"tenant null":       {jwt.MapClaims{"tenant": nil}, nil},
		"scope null":        {jwt.MapClaims{"scope": nil, "scp": "a b"}, []string{"a", "b"}},
		"all null":          {jwt.MapClaims{"tenant": nil, "scope": nil, "scp": nil, "tags": nil, "azp": nil, "jti": nil}, nil},
		"scope a list":      {jwt.MapClaims{"scope": []string{"a", "b"}}, []string{"a", "b"}},
		"scp a list":        {jwt.MapClaims{"scp": []string{"a"}}, []string{"a"}},
		"scope with spaces": {jwt.MapClaims{"scope": " a   b "}, []string{"a", "b"}},
		"audience a list":   {jwt.MapClaims{"aud": []any{"other", aud}}, nil},
		"times with parts":  {jwt.MapClaims{"exp": soon + 0.75, "iat": soon - 7200.5, "nbf": soon - 7200.25}, nil},
		"an unknown claim":  {jwt.MapClaims{"realm_access": map[string]any{"roles": nil}}, nil},
	} {
		c := claims()
		delete(c, "tenant")
		delete(c, "scope")
		maps.Copy(c, tt.set)
		id, err := v.Verify(bearer(t.Context(), s.token(t, "RS256", c, map[string]any{"kid": nil})))
		require.NoError(t, err, name)
		assert.Equal(t, tt.scopes, id.Scopes, name)
		assert.Empty(t, id.Tenant, name)
	}
	for name, set := range map[string]jwt.MapClaims{
		"sub null": {"sub": nil}, "iss null": {"iss": nil}, "aud null": {"aud": nil}, "exp null": {"exp": nil}, "models null": {"models": nil},
		"tenant a number": {"tenant": 1}, "aud a number": {"aud": 1}, "scope an object": {"scope": gin.H{}},
	} {
		c := claims()
		maps.Copy(c, set)
		_, err := v.Verify(bearer(t.Context(), s.token(t, "RS256", c, nil)))
		require.Error(t, err, "%s: what identifies or limits a caller must be there", name)
	}
}

// Introspection reads responses of any media type, with null for what is unknown.
func TestIntrospectionOfAnyForm(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"application/json", "application/json;charset=UTF-8", "text/plain", "text/json", ""} {
		for _, document := range []string{
			`{"active":true,"sub":"u"}`,
			byteOrderMark + ` {"active":true,"sub":"u","exp":null,"nbf":null,"iat":null,"scope":null,"tenant":null,"token_type":null,"client_id":null,"aud":null,"iss":null}` + "\n",
		} {
			s := negotiating(t, kind, map[string]string{"/introspect": document})
			v, err := auth.NewIntrospection(auth.IntrospectionConfig{URL: s.URL + "/introspect", ClientID: "c", ClientSecret: "s"})
			require.NoError(t, err)
			id, err := v.Verify(bearer(t.Context(), "token"))
			require.NoError(t, err, kind)
			assert.Equal(t, "u", id.Subject)
		}
	}
}
