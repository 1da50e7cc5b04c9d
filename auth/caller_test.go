package auth_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/auth"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// twoKeys is a verifier with the keys of two callers.
func twoKeys(t *testing.T) (keys *auth.APIKeys, a, b string) {
	t.Helper()
	a, hashA := auth.NewKey("gk_")
	b, hashB := auth.NewKey("gk_")
	keys, err := auth.NewAPIKeys(auth.APIKeysConfig{File: keyFile(t, fmt.Sprintf(`{"keys":[{"hash":%q,"subject":"a"},{"hash":%q,"subject":"b"}]}`, hashA, hashB))})
	require.NoError(t, err)
	return keys, a, b
}

// reaching sends a request through a chain and returns its exchange.
func reaching(r *http.Request, chain ...gin.HandlerFunc) (x *exchange.Exchange, status int) {
	e := gin.New()
	e.NoRoute(append(chain, func(c *gin.Context) {
		x = exchange.From(c.Request.Context())
		c.Status(http.StatusOK)
	})...)
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	return x, w.Code
}

// Lower layers see each caller as its own hash, whatever the credential.
func TestCallerOfTheExchange(t *testing.T) {
	t.Parallel()
	keys, a, b := twoKeys(t)
	authn := auth.Middleware(auth.Config{Verifiers: []auth.Verifier{keys}, Optional: true})
	callerOf := func(r *http.Request) uint64 {
		x, status := reaching(r, authn)
		require.Equal(t, http.StatusOK, status)
		require.NotNil(t, x)
		return x.Caller
	}
	first := callerOf(presenting("Bearer "+a, ""))
	assert.NotZero(t, first)
	assert.Equal(t, first, callerOf(presenting("", a)))
	assert.NotEqual(t, first, callerOf(presenting("", b)))

	x, _ := reaching(request(), authn)
	assert.Nil(t, x, "no caller is known")

	before := new(exchange.Exchange)
	r := presenting("", a)
	x, _ = reaching(r.WithContext(exchange.With(r.Context(), before)), authn)
	assert.Same(t, before, x, "one exchange per request")
	assert.Equal(t, first, before.Caller)
}

// Clients of all APIs send their keys in the headers that they are used to.
func TestKeyHeaders(t *testing.T) {
	t.Parallel()
	keys, a, b := twoKeys(t)
	authn := auth.Middleware(auth.Config{Verifiers: []auth.Verifier{keys}, Optional: true})
	for _, name := range []string{"X-Api-Key", "Api-Key", "X-Goog-Api-Key"} {
		r := request()
		r.Header.Set(name, a)
		id, err := keys.Verify(r)
		require.NoError(t, err, name)
		assert.Equal(t, "a", id.Subject, name)

		r.Header.Set("Authorization", "Bearer "+b)
		_, err = keys.Verify(r)
		require.ErrorIs(t, err, auth.ErrInvalid, name)

		r = request()
		r.Header.Set(name, "another kind")
		_, status := reaching(r, authn)
		assert.Equal(t, http.StatusUnauthorized, status, "%s: one that no verifier takes is refused", name)
	}
	r := request()
	r.Header.Set("Api-Key", a)
	r.Header.Set("X-Goog-Api-Key", b)
	_, err := keys.Verify(r)
	require.ErrorIs(t, err, auth.ErrInvalid)
}
