package auth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/auth"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fixed is a verifier with a fixed result.
type fixed struct {
	id  *auth.Identity
	err error
}

func (s fixed) Verify(*http.Request) (*auth.Identity, error) { return s.id, s.err }

// through sends a request through handlers and returns the identity that the next handler
// sees.
func through(r *http.Request, handlers ...gin.HandlerFunc) (*auth.Identity, *httptest.ResponseRecorder) {
	var id *auth.Identity
	e := gin.New()
	e.NoRoute(append(handlers, func(c *gin.Context) {
		id, _ = auth.FromContext(c.Request.Context())
		c.Status(http.StatusOK)
	})...)
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	return id, w
}

func request() *http.Request { return httptest.NewRequest(http.MethodGet, "/", nil) }

func TestMiddleware(t *testing.T) {
	t.Parallel()
	alice, bob := &auth.Identity{Subject: "alice"}, &auth.Identity{Subject: "bob"}
	none := fixed{err: fmt.Errorf("%w: none", auth.ErrNoCredential)}
	for name, tt := range map[string]struct {
		verifiers []auth.Verifier
		optional  bool
		want      *auth.Identity
		status    int
		challenge string
		code      string
	}{
		"the first that recognizes it decides": {[]auth.Verifier{none, fixed{id: alice}, fixed{id: bob}}, false, alice, 200, "", ""},
		"a bad one gets no second chance":      {[]auth.Verifier{fixed{err: fmt.Errorf("%w: secret reason", auth.ErrInvalid)}, fixed{id: bob}}, true, nil, 401, `Bearer realm="gateway", error="invalid_token"`, "invalid_api_key"},
		"anonymous":                            {[]auth.Verifier{none}, false, nil, 401, `Bearer realm="gateway"`, "missing_credential"},
		"anonymous, optional":                  {[]auth.Verifier{none}, true, nil, 200, "", ""},
		"can't be checked":                     {[]auth.Verifier{fixed{err: auth.ErrUnavailable}, fixed{id: bob}}, true, nil, 503, "", "auth_unavailable"},
		"any other error":                      {[]auth.Verifier{fixed{err: errors.New("secret reason")}}, true, nil, 503, "", "auth_unavailable"},
		"an identity without subject":          {[]auth.Verifier{fixed{id: &auth.Identity{}}}, true, nil, 401, `Bearer realm="gateway", error="invalid_token"`, "invalid_api_key"},
		"nothing at all":                       {[]auth.Verifier{fixed{}}, true, nil, 401, `Bearer realm="gateway", error="invalid_token"`, "invalid_api_key"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var event auth.Event
			a, err := auth.New(auth.Config{Verifiers: tt.verifiers, Optional: tt.optional, OnEvent: func(_ context.Context, e auth.Event) { event = e }})
			require.NoError(t, err)
			got, w := through(request(), a.Middleware())
			assert.Equal(t, tt.want, got)
			assert.Equal(t, tt.want, event.Identity)
			assert.Equal(t, tt.status, w.Code)
			assert.Equal(t, tt.status != 200, event.Err != nil)
			assert.Equal(t, tt.challenge, w.Header().Get("WWW-Authenticate"))
			assert.NotContains(t, w.Body.String(), "secret reason")
			if tt.code != "" {
				assert.Contains(t, w.Body.String(), `"code":"`+tt.code+`"`)
			}
		})
	}
}

func TestBearer(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		headers []string
		want    string
		err     error
	}{
		"none":           {nil, "", auth.ErrNoCredential},
		"token":          {[]string{"Bearer abc"}, "abc", nil},
		"any case":       {[]string{"bEARER abc"}, "abc", nil},
		"more spaces":    {[]string{"Bearer   abc "}, "abc", nil},
		"another scheme": {[]string{"Basic abc"}, "", auth.ErrNoCredential},
		"only a scheme":  {[]string{"Bearer"}, "", auth.ErrInvalid},
		"empty":          {[]string{"Bearer "}, "", auth.ErrInvalid},
		"two tokens":     {[]string{"Bearer a b"}, "", auth.ErrInvalid},
		"a list":         {[]string{"Bearer a,b"}, "", auth.ErrInvalid},
		"two headers":    {[]string{"Bearer a", "Bearer a"}, "", auth.ErrInvalid},
	} {
		r := request()
		r.Header["Authorization"] = tt.headers
		got, err := auth.Bearer(r)
		require.ErrorIs(t, err, tt.err, name)
		assert.Equal(t, tt.want, got, name)
	}
}

func TestKeyFunctions(t *testing.T) {
	t.Parallel()
	keys := func(id *auth.Identity) (subject, tenant string, err error) {
		r := request()
		if id != nil {
			r = r.WithContext(auth.NewContext(r.Context(), id))
		}
		through(r, func(c *gin.Context) {
			var subjectErr, tenantErr error
			subject, subjectErr = auth.Subject(c)
			tenant, tenantErr = auth.Tenant(c)
			err = errors.Join(subjectErr, tenantErr)
		})
		return subject, tenant, err
	}
	_, _, err := keys(nil)
	require.ErrorIs(t, err, auth.ErrNoIdentity, "requests without a key must not share a limit")
	a1, t1, err := keys(&auth.Identity{Subject: "a", Issuer: "x", Tenant: "acme"})
	require.NoError(t, err)
	a2, t2, err := keys(&auth.Identity{Subject: "a", Issuer: "y", Tenant: "acme"})
	require.NoError(t, err)
	assert.NotEqual(t, a1, a2, "the same name of another issuer is another caller")
	assert.Equal(t, t1, t2)
	a3, t3, err := keys(&auth.Identity{Subject: "a", Issuer: "x"})
	require.NoError(t, err)
	assert.Equal(t, a1, a3)
	assert.Equal(t, a3, t3, "callers without a tenant do not share a limit")

	ctx := auth.NewContext(t.Context(), &auth.Identity{Subject: "a", Tags: []string{"staff"}, Scopes: []string{"r", "w"}})
	subject, ok := auth.SubjectOf(ctx)
	assert.True(t, ok)
	assert.NotEmpty(t, subject)
	assert.Equal(t, []string{"staff"}, auth.TagsOf(ctx))
	_, ok = auth.SubjectOf(t.Context())
	assert.False(t, ok)
	assert.Empty(t, auth.TagsOf(t.Context()))
	id, _ := auth.FromContext(ctx)
	assert.True(t, id.HasScopes("w", "r"))
	assert.False(t, id.HasScopes("r", "x"))
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for want, cfg := range map[string]auth.Config{
		"Verifiers is required": {},
		"Verifiers[0] is nil":   {Verifiers: []auth.Verifier{nil}},
		"Realm":                 {Verifiers: []auth.Verifier{fixed{}}, Realm: "a\"b"},
	} {
		_, err := auth.New(cfg)
		require.ErrorContains(t, err, want)
	}
	assert.Panics(t, func() { auth.Middleware(auth.Config{}) })
	assert.NotNil(t, auth.Middleware(auth.Config{Verifiers: []auth.Verifier{fixed{}}}))
}
