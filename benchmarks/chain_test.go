package benchmarks_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	ginjwt "github.com/appleboy/gin-jwt/v2"
	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/auth"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/go-chi/httprate"
	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"
	"github.com/ulule/limiter/v3"
	uluegin "github.com/ulule/limiter/v3/drivers/middleware/gin"
	"github.com/ulule/limiter/v3/drivers/store/memory"
)

const secret = "a secret of thirty-two bytes or more"

// discard is a ResponseWriter that discards everything and is reused between requests.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(int)             {}

// signed returns a request with a token that every chain here accepts.
func signed(tb testing.TB) *http.Request {
	tb.Helper()
	now := time.Now()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iss": "https://op.example", "aud": "api", "sub": "alice", "identity": "alice", "tenant": "acme", "scope": "chat batch",
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}).SignedString([]byte(secret))
	require.NoError(tb, err)
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	return r
}

func engine(chain ...gin.HandlerFunc) http.Handler {
	gin.SetMode(gin.ReleaseMode)
	r := gin.New()
	r.GET("/", append(chain, func(*gin.Context) {})...)
	return r
}

// ours is a JWT, cached after the first request, and a limit by its subject.
func ours(tb testing.TB) http.Handler {
	tb.Helper()
	secrets, err := auth.NewSecrets([]byte(secret))
	require.NoError(tb, err)
	verifier, err := auth.NewJWT(auth.JWTConfig{Keys: secrets, Algorithms: []string{"HS256"}, Issuer: "https://op.example", Audience: "api"})
	require.NoError(tb, err)
	return engine(
		auth.Middleware(auth.Config{Verifiers: []auth.Verifier{verifier}}),
		ratelimit.Middleware(ratelimit.Config{Key: auth.Subject, Rate: 1e9, Burst: 1000}),
	)
}

func ginJWT(tb testing.TB) gin.HandlerFunc {
	tb.Helper()
	m, err := ginjwt.New(&ginjwt.GinJWTMiddleware{Realm: "x", Key: []byte(secret), Timeout: time.Hour, Authenticator: func(*gin.Context) (any, error) { return nil, ginjwt.ErrFailedAuthentication }})
	require.NoError(tb, err)
	return m.MiddlewareFunc()
}

// withUlule is gin-jwt and ulule/limiter.
func withUlule(tb testing.TB) http.Handler {
	tb.Helper()
	limits := limiter.New(memory.NewStore(), limiter.Rate{Period: time.Second, Limit: 1e9})
	bySubject := uluegin.WithKeyGetter(func(c *gin.Context) string { s, _ := c.Get("identity"); name, _ := s.(string); return name })
	return engine(ginJWT(tb), uluegin.NewMiddleware(limits, bySubject))
}

// withHTTPRate is gin-jwt behind go-chi/httprate.
func withHTTPRate(tb testing.TB) http.Handler {
	tb.Helper()
	limits := httprate.LimitBy(1e9, time.Second, func(*http.Request) (string, error) { return "alice", nil })
	return limits(engine(ginJWT(tb)))
}

// BenchmarkChain measures authentication with a JWT and a rate limit in front of an empty
// handler. "nothing" is Gin alone.
func BenchmarkChain(b *testing.B) {
	for _, one := range []struct {
		name string
		h    http.Handler
	}{{"nothing", engine()}, {"ginfer", ours(b)}, {"gin-jwt and ulule", withUlule(b)}, {"gin-jwt and httprate", withHTTPRate(b)}} {
		b.Run(one.name, func(b *testing.B) {
			probe := httptest.NewRecorder()
			one.h.ServeHTTP(probe, signed(b))
			require.Equal(b, http.StatusOK, probe.Code, probe.Body)
			b.ReportAllocs()
			w, r := &discard{header: http.Header{}}, signed(b)
			for b.Loop() {
				clear(w.header)
				one.h.ServeHTTP(w, r)
			}
		})
	}
}
