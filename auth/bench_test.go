package auth_test

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/auth"
	"github.com/stretchr/testify/require"
)

// still is a response writer without cost.
type still struct{ header http.Header }

func (w still) Header() http.Header       { return w.header }
func (still) Write(b []byte) (int, error) { return len(b), nil }
func (still) WriteHeader(int)             {}

// serve returns a function that calls a gin engine with the handlers.
func serve(r *http.Request, handlers ...gin.HandlerFunc) func() {
	e := gin.New()
	e.GET("/", append(handlers, func(*gin.Context) {})...)
	w := still{http.Header{}}
	return func() { e.ServeHTTP(w, r) }
}

// verifiedRequests are requests with a cached credential, and its verifier.
func verifiedRequests(tb testing.TB) map[string]struct {
	v auth.Verifier
	r *http.Request
} {
	tb.Helper()
	s := newSigner(tb)
	file := filepath.Join(tb.TempDir(), "keys.json")
	key, err := auth.AddKey(file, auth.DefaultPrefix, auth.KeyEntry{Subject: "a", Tenant: "acme"})
	require.NoError(tb, err)
	keys, err := auth.NewAPIKeys(auth.APIKeysConfig{File: file})
	require.NoError(tb, err)
	active := newIntrospection(tb, &tokenServer{responses: map[string]string{"t": `{"active":true,"sub":"u"}`}}, nil)
	withKey := httptest.NewRequest(http.MethodGet, "/", nil)
	withKey.Header.Set("X-Api-Key", key)
	all := map[string]struct {
		v auth.Verifier
		r *http.Request
	}{
		"JWT":           {newJWT(tb, s.source, nil), bearer(tb.Context(), s.token(tb, "RS256", claims(), nil))},
		"key":           {keys, withKey},
		"key as Bearer": {keys, bearer(tb.Context(), key)},
		"opaque":        {active, bearer(tb.Context(), "t")},
	}
	for name, tt := range all {
		_, err := tt.v.Verify(tt.r)
		require.NoError(tb, err, name)
	}
	return all
}

func BenchmarkMiddleware(b *testing.B) {
	run := func(name string, r *http.Request, handlers ...gin.HandlerFunc) {
		b.Run(name, func(b *testing.B) {
			call := serve(r, handlers...)
			b.ReportAllocs()
			for b.Loop() {
				call()
			}
		})
	}
	all := verifiedRequests(b)
	run("empty", all["JWT"].r)
	keys := func(c *gin.Context) {
		_, _ = auth.Subject(c)
		_, _ = auth.Tenant(c)
	}
	for name, tt := range all {
		run(name, tt.r, auth.Middleware(auth.Config{Verifiers: []auth.Verifier{tt.v}}))
		run(name+" and its keys", tt.r, auth.Middleware(auth.Config{Verifiers: []auth.Verifier{tt.v}}), keys)
	}
}

func BenchmarkVerify(b *testing.B) {
	for name, tt := range verifiedRequests(b) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := tt.v.Verify(tt.r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
