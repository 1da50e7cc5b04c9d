package auth_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/auth"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The challenges of RFC 6750 §3.
func TestChallenges(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	keys, err := auth.NewAPIKeys(auth.APIKeysConfig{File: keyFile(t, `{"keys":[]}`)})
	require.NoError(t, err)
	cfg := auth.Config{Realm: "models", Verifiers: []auth.Verifier{keys, newJWT(t, s.source, nil)}}
	a, err := auth.New(cfg)
	require.NoError(t, err)
	cfg.Optional = true
	optional := auth.Middleware(cfg)
	expired := claims()
	expired["exp"] = time.Now().Add(-time.Hour).Unix()
	good := s.token(t, "HS256", claims(), nil)
	const missing, invalid = `Bearer realm="models"`, `Bearer realm="models", error="invalid_token"`
	for name, tt := range map[string]struct {
		request   *http.Request
		status    int
		challenge string
		code      string
		optional  int
	}{
		"nothing sent":           {request(), 401, missing, "missing_credential", 200},
		"another scheme":         {presenting("Basic eDp5", ""), 401, missing, "missing_credential", 200},
		"an expired token":       {bearer(t.Context(), s.token(t, "HS256", expired, nil)), 401, invalid, "invalid_api_key", 401},
		"a bad signature":        {bearer(t.Context(), good[:len(good)-5]+"AAAAA"), 401, invalid, "invalid_api_key", 401},
		"an unknown key":         {presenting("", "gk_x"), 401, invalid, "invalid_api_key", 401},
		"a token of no kind":     {presenting("Bearer abc", ""), 401, invalid, "invalid_api_key", 401},
		"a key of no kind":       {presenting("", "abc"), 401, invalid, "invalid_api_key", 401},
		"malformed":              {presenting("Bearer a b", ""), 401, invalid, "invalid_api_key", 401},
		"a token and a bad key":  {presenting("Bearer "+good, "gk_x"), 401, invalid, "invalid_api_key", 401},
		"good":                   {bearer(t.Context(), good), 200, "", "", 200},
		"good, with another key": {presenting("Bearer "+good, "abc"), 200, "", "", 200},
	} {
		_, w := through(tt.request, a.Middleware())
		assert.Equal(t, tt.status, w.Code, name)
		assert.Equal(t, tt.challenge, w.Header().Get("WWW-Authenticate"), name)
		assert.Contains(t, w.Body.String(), tt.code, name)
		for _, hint := range []string{"signature", "expired", "unknown", "malformed"} {
			assert.NotContains(t, w.Body.String(), hint, name)
		}
		_, w = through(tt.request, optional)
		assert.Equal(t, tt.optional, w.Code, name)
	}

	alice := &auth.Identity{Subject: "alice", Models: []string{"m"}}
	for name, tt := range map[string]struct {
		handler   gin.HandlerFunc
		id        *auth.Identity
		status    int
		challenge string
	}{
		"scope, anonymous":            {auth.Require("r"), nil, 401, `Bearer realm="gateway"`},
		"scope, too few":              {auth.Require("r", "w"), alice, 403, `Bearer realm="gateway", error="insufficient_scope", scope="r w"`},
		"scope, anonymous, own realm": {a.Require("r"), nil, 401, `Bearer realm="models"`},
		"scope, too few, own realm":   {a.Require("r"), alice, 403, `Bearer realm="models", error="insufficient_scope", scope="r"`},
		"model, anonymous":            {auth.RequireModel(auth.RequireModelConfig{}), nil, 401, `Bearer realm="gateway"`},
		"model, anonymous, own realm": {auth.RequireModel(auth.RequireModelConfig{Realm: "models"}), nil, 401, `Bearer realm="models"`},
		"model, not required":         {auth.RequireModel(auth.RequireModelConfig{}), alice, 200, ``},
	} {
		r := request()
		if tt.id != nil {
			r = as(r, tt.id)
		}
		_, w := through(r, tt.handler)
		assert.Equal(t, tt.status, w.Code, name)
		assert.Equal(t, tt.challenge, w.Header().Get("WWW-Authenticate"), name)
	}
	assert.Panics(t, func() { auth.RequireModel(auth.RequireModelConfig{Realm: `"`}) })
	for _, scope := range []string{"", "a b", `a"`, `a\`, "a\n", "é"} {
		assert.Panics(t, func() { auth.Require("ok", scope) }, scope)
	}
}

// Every refusal goes through the configured ErrorHandler.
func TestOwnErrorHandler(t *testing.T) {
	t.Parallel()
	a, err := auth.New(auth.Config{Verifiers: []auth.Verifier{fixed{err: auth.ErrNoCredential}}, ErrorHandler: apierror.Anthropic})
	require.NoError(t, err)
	for _, h := range []gin.HandlerFunc{a.Middleware(), a.Require("r")} {
		_, w := through(request(), h)
		assert.Equal(t, 401, w.Code)
		assert.JSONEq(t, `{"type":"error","error":{"type":"authentication_error","message":"Authentication is required."}}`, w.Body.String())
	}
}

// An error that wraps ErrInvalid or ErrUnavailable never lets a request through.
func TestErrorKinds(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		err  error
		want int
	}{
		"none, within bad":            {fmt.Errorf("%w: %w", auth.ErrInvalid, auth.ErrNoCredential), 401},
		"none, within can't tell":     {fmt.Errorf("%w: %w", auth.ErrUnavailable, auth.ErrNoCredential), 503},
		"bad, within can't tell":      {fmt.Errorf("%w: %w", auth.ErrUnavailable, auth.ErrInvalid), 503},
		"joined":                      {errors.Join(auth.ErrNoCredential, auth.ErrUnavailable), 503},
		"forbidden, of another place": {auth.ErrForbidden, 503},
	} {
		id, w := through(request(), auth.Middleware(auth.Config{Optional: true, Verifiers: []auth.Verifier{fixed{err: tt.err}, fixed{id: &auth.Identity{Subject: "root"}}}}))
		assert.Nil(t, id, name)
		assert.Equal(t, tt.want, w.Code, name)
	}
	keys, err := auth.NewAPIKeys(auth.APIKeysConfig{Lookup: func(context.Context, string) (*auth.Identity, error) { return nil, auth.ErrNoCredential }})
	require.NoError(t, err)
	_, w := through(presenting("", "gk_x"), auth.Middleware(auth.Config{Optional: true, Verifiers: []auth.Verifier{keys}}))
	assert.Equal(t, 503, w.Code, "a Lookup that returns it is at fault itself")
}

// A client disconnect during verification is not a fault of the gateway.
func TestClientDisconnect(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, w := through(request().WithContext(ctx), auth.Middleware(auth.Config{Verifiers: []auth.Verifier{fixed{err: fmt.Errorf("%w: %w", auth.ErrUnavailable, context.Canceled)}}}))
	assert.Equal(t, apierror.StatusClientClosed, w.Code)
}

// The keys of two callers, or of a caller and a tenant, never collide.
func TestKeysDiffer(t *testing.T) {
	t.Parallel()
	seen := map[string]*auth.Identity{}
	for _, id := range []*auth.Identity{
		{Subject: "a"},
		{Subject: "a", Issuer: "x"},
		{Subject: "xa"},
		{Subject: "acme", Issuer: "tenant"},
		{Subject: "b", Issuer: "x", Tenant: "acme"},
		{Subject: "c", Issuer: "x", Tenant: "a"},
	} {
		through(as(request(), id), func(c *gin.Context) {
			subject, err := auth.Subject(c)
			require.NoError(t, err)
			tenant, err := auth.Tenant(c)
			require.NoError(t, err)
			keys := []string{subject}
			if id.Tenant != "" {
				keys = append(keys, tenant)
			}
			for _, key := range keys {
				assert.Nil(t, seen[key], "%+v", id)
				seen[key] = id
			}
		})
	}
	for _, id := range []*auth.Identity{{Subject: "a\x00b"}, {Subject: "a", Issuer: "x\x00y"}, {Subject: "a", Tenant: "x\ny"}, {Subject: "a\u0085b"}} {
		_, w := through(request(), auth.Middleware(auth.Config{Verifiers: []auth.Verifier{fixed{id: id}}}))
		assert.Equal(t, 401, w.Code, "%+v", id)
	}
}

// No error, event, response or entry of gin's errors contains a secret.
func TestNoSecrets(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	key, hash := auth.NewKey(auth.DefaultPrefix)
	keys, err := auth.NewAPIKeys(auth.APIKeysConfig{File: keyFile(t, `{"keys":[{"hash":"`+hash+`","subject":"a","expires":"2020-01-01T00:00:00Z"}]}`)})
	require.NoError(t, err)
	down, err := auth.NewIntrospection(auth.IntrospectionConfig{URL: "https://op.example/i?api_key=q-s3cret", ClientID: "c", ClientSecret: "c-s3cret", Client: &http.Client{
		Transport: trip(func(r *http.Request) (*http.Response, error) {
			return nil, fmt.Errorf("dial %s", r.URL.Host)
		}),
	}})
	require.NoError(t, err)
	token := s.token(t, "ES256", claims(), nil)
	parts := strings.Split(token, ".")
	secrets := append([]string{key, key[3:20], hash, "s3cret", "0paque"}, parts[1][:20], parts[2][:20])
	for name, tt := range map[string]struct {
		request   *http.Request
		verifiers []auth.Verifier
	}{
		"an expired key":      {presenting("", key), []auth.Verifier{keys}},
		"an unknown key":      {presenting("", key[:len(key)-1]), []auth.Verifier{keys}},
		"two keys":            {presenting("Bearer "+key, key+"x"), []auth.Verifier{keys}},
		"a long key":          {presenting("", key+strings.Repeat(key, 20)), []auth.Verifier{keys}},
		"a bad Bearer":        {presenting("Bearer "+token+" "+key, ""), []auth.Verifier{keys}},
		"a bad signature":     {bearer(t.Context(), token[:len(token)-6]+"AAAAAA"), []auth.Verifier{newJWT(t, s.source, nil)}},
		"no such key":         {bearer(t.Context(), token), []auth.Verifier{newJWT(t, &source{}, nil)}},
		"another audience":    {bearer(t.Context(), token), []auth.Verifier{newJWT(t, s.source, func(c *auth.JWTConfig) { c.Audience = "x" })}},
		"of no verifier":      {bearer(t.Context(), "0paque"), []auth.Verifier{newJWT(t, s.source, nil)}},
		"server down":         {bearer(t.Context(), "0paque"), []auth.Verifier{down}},
		"of a panicky server": {bearer(t.Context(), "0paque"), []auth.Verifier{introspectBy(t, trip(func(r *http.Request) (*http.Response, error) { panic(r) }))}},
	} {
		var out bytes.Buffer
		e := gin.New()
		e.NoRoute(func(c *gin.Context) {
			c.Next()
			fmt.Fprintf(&out, "%v %+v", c.Errors, c.Errors.Errors())
		}, auth.Middleware(auth.Config{Verifiers: tt.verifiers, OnEvent: func(_ context.Context, e auth.Event) { fmt.Fprintf(&out, "%+v", e) }}))
		w := httptest.NewRecorder()
		e.ServeHTTP(w, tt.request)
		require.GreaterOrEqual(t, w.Code, 401, name)
		fmt.Fprintf(&out, "%v %s", w.Header(), w.Body)
		require.Contains(t, out.String(), "auth:", name)
		for _, secret := range secrets {
			assert.NotContains(t, out.String(), secret, name)
		}
	}
}

// A handler that does not abort still lets no request through.
func TestHandlersThatDoNotAbort(t *testing.T) {
	t.Parallel()
	silent := func(c *gin.Context, _ error) { c.Status(http.StatusTeapot) }
	filter, err := auth.NewIPFilter(auth.IPFilterConfig{Deny: []string{"0.0.0.0/0"}, ErrorHandler: silent})
	require.NoError(t, err)
	authn, err := auth.New(auth.Config{Verifiers: []auth.Verifier{&auth.MTLS{}}, ErrorHandler: silent})
	require.NoError(t, err)
	for name, handler := range map[string]gin.HandlerFunc{
		"addresses": filter.Middleware(), "callers": authn.Middleware(), "scopes": authn.Require("a"), "models": auth.RequireModel(auth.RequireModelConfig{ErrorHandler: silent}),
	} {
		r := gin.New()
		r.GET("/", handler, func(*gin.Context) { t.Errorf("%s: let through", name) })
		w := httptest.NewRecorder()
		r.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		assert.Equal(t, http.StatusTeapot, w.Code, name)
	}
}
