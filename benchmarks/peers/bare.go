package main

import (
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"

	ginjwt "github.com/appleboy/gin-jwt/v2"
	"github.com/gin-gonic/gin"
	"github.com/golang-jwt/jwt/v5"
	"github.com/sony/gobreaker/v2"
	"github.com/ulule/limiter/v3"
	uluegin "github.com/ulule/limiter/v3/drivers/middleware/gin"
	"github.com/ulule/limiter/v3/drivers/store/memory"
)

// secret signs the tokens of all proxies, and is the API key of those that know no JWT.
const secret = "a-secret-of-thirty-two-bytes-or-more"

func token() string {
	now := time.Now()
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iss": "https://op.example", "aud": "api", "sub": "alice", "identity": "alice", "tenant": "acme", "scope": "chat batch",
		"iat": now.Unix(), "exp": now.Add(24 * time.Hour).Unix(),
	}).SignedString([]byte(secret))
	if err != nil {
		panic(err) // a key of bytes can always sign
	}
	return text
}

// reverse is httputil.ReverseProxy, tuned: enough idle connections, events flushed at once.
func reverse(endpoint string) (*httputil.ReverseProxy, error) {
	target, err := url.Parse("http://" + endpoint)
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost, transport.DisableCompression = 0, 10000, true
	return &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target); r.SetXForwarded() },
		Transport:     transport,
		FlushInterval: -1,
	}, nil
}

// bare is a ReverseProxy alone: args are its address and the endpoint.
func bare(args []string) error {
	proxy, err := reverse(args[1])
	if err != nil {
		return err
	}
	return (&http.Server{Addr: args[0], Handler: proxy, ReadHeaderTimeout: 10 * time.Second}).ListenAndServe()
}

// guarded is a transport behind a circuit breaker.
type guarded struct {
	http.RoundTripper

	breaker *gobreaker.CircuitBreaker[*http.Response]
}

func (g guarded) RoundTrip(r *http.Request) (*http.Response, error) {
	return g.breaker.Execute(func() (*http.Response, error) { return g.RoundTripper.RoundTrip(r) })
}

// ginStack is what a team builds of well-known parts: gin-jwt, ulule/limiter, gobreaker, and
// ReverseProxy, without access log, metrics and token limits.
func ginStack(args []string) error {
	proxy, err := reverse(args[1])
	if err != nil {
		return err
	}
	proxy.Transport = guarded{proxy.Transport, gobreaker.NewCircuitBreaker[*http.Response](gobreaker.Settings{Name: args[1]})} //nolint:bodyclose // its transport returns the response
	auth, err := ginjwt.New(&ginjwt.GinJWTMiddleware{
		Realm: "x", Key: []byte(secret), Timeout: time.Hour,
		Authenticator: func(*gin.Context) (any, error) { return nil, ginjwt.ErrFailedAuthentication },
	})
	if err != nil {
		return err
	}
	limits := limiter.New(memory.NewStore(), limiter.Rate{Period: time.Second, Limit: 1e9})
	bySubject := uluegin.WithKeyGetter(func(c *gin.Context) string { return c.GetString("identity") })
	gin.SetMode(gin.ReleaseMode)
	r := gin.New()
	r.Use(gin.Recovery(), auth.MiddlewareFunc(), uluegin.NewMiddleware(limits, bySubject))
	r.POST("/v1/*path", gin.WrapH(proxy))
	return (&http.Server{Addr: args[0], Handler: r, ReadHeaderTimeout: 10 * time.Second}).ListenAndServe()
}
