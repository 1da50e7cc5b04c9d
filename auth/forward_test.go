package auth_test

import (
	"net/http"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/auth"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestForward(t *testing.T) {
	t.Parallel()
	secret := make([]byte, 32)
	f, err := auth.NewForwarder(auth.ForwardConfig{
		Subject: "X-User", Tenant: "X-Tenant", Scopes: "X-Scopes", Tags: "X-Tags",
		Signed: "X-Identity", Secret: secret, Issuer: "gateway", Audience: "upstream",
	})
	require.NoError(t, err)
	sent := func(id *auth.Identity) http.Header {
		out := request()
		out.Header = http.Header{"X-User": {"root"}, "X_tenant": {"evil"}, "X-Identity": {"forged"}, "X_IDENTITY": {"forged"}, "X-Kept": {"1"}}
		r := request()
		if id != nil {
			r = as(r, id)
		}
		through(r, func(c *gin.Context) { f.Rewrite(c, out) })
		return out.Header
	}
	assert.Equal(t, http.Header{"X-Kept": {"1"}}, sent(nil), "the client's own headers never pass")

	h := sent(&auth.Identity{Subject: "alice", Issuer: "op", Tenant: "acme", Scopes: []string{"r", "w"}})
	signed := h.Get("X-Identity")
	h.Del("X-Identity")
	assert.Equal(t, http.Header{"X-Kept": {"1"}, "X-User": {"alice"}, "X-Tenant": {"acme"}, "X-Scopes": {"r w"}}, h)

	keys, err := auth.NewSecrets(secret)
	require.NoError(t, err)
	v, err := auth.NewJWT(auth.JWTConfig{Keys: keys, Algorithms: []string{"HS256"}, Issuer: "gateway", Audience: "upstream"})
	require.NoError(t, err)
	id, err := v.Verify(bearer(t.Context(), signed))
	require.NoError(t, err, "the upstream can verify it")
	assert.Equal(t, "alice", id.Subject)
	assert.Equal(t, []string{"r", "w"}, id.Scopes)

	h = sent(&auth.Identity{Subject: "a\r\nX-Admin: 1"})
	assert.Empty(t, h.Get("X-User"), "no claim injects a header")
	h = sent(&auth.Identity{Subject: " root"})
	assert.Empty(t, h.Get("X-User"), "nor becomes another claim when its spaces are trimmed")
}

func TestForwardConfig(t *testing.T) {
	t.Parallel()
	for want, cfg := range map[string]auth.ForwardConfig{
		"names no header":                {},
		`Subject: "X Y"`:                 {Subject: "X Y"},
		`Tenant: "x_user" is used twice`: {Subject: "X-User", Tenant: "x_user"},
		"Signed needs":                   {Signed: "X-Identity", Secret: []byte("hidden"), Issuer: "a", Audience: "b"},
	} {
		_, err := auth.NewForwarder(cfg)
		require.ErrorContains(t, err, want)
		assert.NotContains(t, err.Error(), "hidden")
	}
}

// A name with an underscore is removed like one with a dash.
func TestForwardUnderscores(t *testing.T) {
	t.Parallel()
	f, err := auth.NewForwarder(auth.ForwardConfig{Subject: "X_User"})
	require.NoError(t, err)
	out := request()
	out.Header = http.Header{"X-User": {"root"}, "X_user": {"root"}, "X_User": {"root"}}
	through(request(), func(c *gin.Context) { f.Rewrite(c, out) })
	assert.Empty(t, out.Header)
}
