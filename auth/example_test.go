package auth_test

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/auth"
	"github.com/golang-jwt/jwt/v5"
)

// get sends a request with a credential through handlers.
func get(header, credential string, handlers ...gin.HandlerFunc) *httptest.ResponseRecorder {
	r := gin.New()
	r.GET("/", handlers...)
	req := httptest.NewRequest(http.MethodGet, "/", nil)
	if credential != "" {
		req.Header.Set(header, credential)
	}
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	return w
}

// token signs the claims of an access token.
func token(key any, method jwt.SigningMethod, subject string) string {
	text, err := jwt.NewWithClaims(method, jwt.MapClaims{
		"iss": "https://op.example", "aud": "gateway", "sub": subject, "scope": "chat", "exp": time.Now().Add(time.Minute).Unix(),
	}).SignedString(key)
	if err != nil {
		panic(err)
	}
	return text
}

// must ends an example with a wrong configuration.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func ExampleNew() {
	key, hash := auth.NewKey(auth.DefaultPrefix)
	keys, err := auth.NewAPIKeys(auth.APIKeysConfig{Lookup: func(_ context.Context, h string) (*auth.Identity, error) {
		if h != hash {
			return nil, auth.ErrInvalid
		}
		return &auth.Identity{Subject: "team-a", Scopes: []string{"chat"}}, nil
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	authn, err := auth.New(auth.Config{Verifiers: []auth.Verifier{keys}})
	if err != nil {
		fmt.Println(err)
		return
	}
	hello := func(c *gin.Context) {
		id, _ := auth.FromContext(c.Request.Context())
		c.String(http.StatusOK, "hello %s", id.Subject)
	}
	for _, credential := range []string{key, "gk_wrong", ""} {
		w := get("X-Api-Key", credential, authn.Middleware(), authn.Require("chat"), hello)
		fmt.Printf("%d %q\n", w.Code, w.Header().Get("WWW-Authenticate"))
	}
	// Output:
	// 200 ""
	// 401 "Bearer realm=\"gateway\", error=\"invalid_token\""
	// 401 "Bearer realm=\"gateway\""
}

func ExampleNewJWT() {
	secret := []byte("0123456789abcdef0123456789abcdef") // for demonstration only
	v, err := auth.NewJWT(auth.JWTConfig{
		Keys:       must(auth.NewSecrets(secret)),
		Algorithms: []string{"HS256"},
		Issuer:     "https://op.example",
		Audience:   "gateway",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	req := httptest.NewRequest(http.MethodGet, "/", nil)
	req.Header.Set("Authorization", "Bearer "+token(secret, jwt.SigningMethodHS256, "alice"))
	id, err := v.Verify(req)
	fmt.Println(id.Subject, id.Scopes, err)
	// Output: alice [chat] <nil>
}

func ExampleNewSecrets() {
	_, err := auth.NewSecrets([]byte("too short"))
	fmt.Println(err)
	// The new secret, and the old one until its last token has expired.
	secrets, err := auth.NewSecrets([]byte("new-new-new-new-new-new-new-new-"), []byte("old-old-old-old-old-old-old-old-"))
	if err != nil {
		fmt.Println(err)
		return
	}
	keys, err := secrets.Keys(context.Background(), "", "HS256")
	fmt.Println(len(keys), err)
	// Output:
	// auth: NewSecrets: secret 0 has fewer than 32 bytes
	// 2 <nil>
}

// Public keys in a file, which Run reloads. With URL or Issuer instead of File they are
// fetched.
func ExampleNewKeySet() {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	file := filepath.Join(must(os.MkdirTemp("", "auth")), "issuer.pem")
	defer func() { _ = os.RemoveAll(filepath.Dir(file)) }()
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(public))})
	if err := os.WriteFile(file, text, 0o600); err != nil {
		fmt.Println(err)
		return
	}

	keys, err := auth.NewKeySet(auth.KeySetConfig{File: file})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- keys.Run(ctx) }() // reloads on changes

	v := must(auth.NewJWT(auth.JWTConfig{Keys: keys, Algorithms: []string{"EdDSA"}, Issuer: "https://op.example", Audience: "gateway"}))
	w := get("Authorization", "Bearer "+token(private, jwt.SigningMethodEdDSA, "alice"), auth.Middleware(auth.Config{Verifiers: []auth.Verifier{v}}))
	fmt.Println(w.Code)
	stop()
	fmt.Println(<-done)
	// Output:
	// 200
	// <nil>
}

func ExampleNewAPIKeys() {
	file := filepath.Join(must(os.MkdirTemp("", "auth")), "keys.json")
	defer func() { _ = os.RemoveAll(filepath.Dir(file)) }()
	key, err := auth.AddKey(file, auth.DefaultPrefix, auth.KeyEntry{Subject: "team-a", Scopes: []string{"chat"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	keys, err := auth.NewAPIKeys(auth.APIKeysConfig{File: file})
	if err != nil {
		fmt.Println(err)
		return
	}
	authn := auth.Middleware(auth.Config{Verifiers: []auth.Verifier{keys}})
	fmt.Println(get("X-Api-Key", key, authn).Code)
	fmt.Println(get("Authorization", "Bearer "+key, authn).Code)
	// Output:
	// 200
	// 200
}

func ExampleAddKey() {
	file := filepath.Join(must(os.MkdirTemp("", "auth")), "keys.json")
	defer func() { _ = os.RemoveAll(filepath.Dir(file)) }()
	key, err := auth.AddKey(file, "gk_", auth.KeyEntry{Subject: "team-a", Models: []string{"small-*"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	text := must(os.ReadFile(file))
	fmt.Println(strings.HasPrefix(key, "gk_"), strings.Contains(string(text), key))
	_, err = auth.AddKey(file, "gk_", auth.KeyEntry{})
	fmt.Println(err)
	// Output:
	// true false
	// auth: AddKey: subject: is missing
}

func ExampleNewKey() {
	key, hash := auth.NewKey("gk_")
	fmt.Println(strings.HasPrefix(key, "gk_"), len(key), len(hash))
	// Output: true 46 64
}

func ExampleNewIntrospection() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		active := r.FormValue("token") == "opaque"
		_ = json.NewEncoder(w).Encode(map[string]any{"active": active, "sub": "alice", "aud": "gateway"})
	}))
	defer server.Close()
	v, err := auth.NewIntrospection(auth.IntrospectionConfig{
		URL: server.URL, ClientID: "gateway", ClientSecret: "secret", Audience: "gateway", Client: server.Client(),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	authn := auth.Middleware(auth.Config{Verifiers: []auth.Verifier{v}})
	fmt.Println(get("Authorization", "Bearer opaque", authn).Code)
	fmt.Println(get("Authorization", "Bearer revoked", authn).Code)
	// Output:
	// 200
	// 401
}

func ExampleNewMTLS() {
	v, err := auth.NewMTLS(auth.MTLSConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	req := httptest.NewRequest(http.MethodGet, "/", nil)
	// As on a server with tls.Config{ClientAuth: tls.VerifyClientCertIfGiven}.
	req.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{{
		Subject: pkix.Name{CommonName: "agent"}, Issuer: pkix.Name{CommonName: "ca"}, NotAfter: time.Now().Add(time.Hour),
	}}}}
	id, err := v.Verify(req)
	fmt.Println(id.Subject, id.Issuer, err)
	// Output: agent CN=ca <nil>
}

func ExampleNewIPFilter() {
	f, err := auth.NewIPFilter(auth.IPFilterConfig{
		Allow:          []string{"192.0.2.0/24", "2001:db8::/32"},
		Deny:           []string{"192.0.2.66"},
		TrustedProxies: []string{"10.0.0.0/8"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	r := gin.New()
	r.Use(f.Middleware())
	r.GET("/", func(*gin.Context) {})
	for _, client := range []string{"192.0.2.1", "192.0.2.66", "192.0.2.1, 198.51.100.7"} {
		req := httptest.NewRequest(http.MethodGet, "/", nil)
		req.RemoteAddr = "10.0.0.1:4711" // the proxy
		req.Header.Set("X-Forwarded-For", client)
		w := httptest.NewRecorder()
		r.ServeHTTP(w, req)
		fmt.Println(w.Code)
	}
	// Output:
	// 200
	// 403
	// 403
}

func ExampleNewForwarder() {
	f, err := auth.NewForwarder(auth.ForwardConfig{Subject: "X-User", Tenant: "X-Tenant"})
	if err != nil {
		fmt.Println(err)
		return
	}
	rewrite := func(c *gin.Context) { // as the proxy calls its Config.Rewrite
		out := httptest.NewRequest(http.MethodGet, "http://upstream.example/", nil)
		out.Header = c.Request.Header.Clone()
		f.Rewrite(c, out)
		fmt.Println(out.Header)
	}
	alice := func(c *gin.Context) {
		ctx := auth.NewContext(c.Request.Context(), &auth.Identity{Subject: "alice", Tenant: "acme"})
		c.Request = c.Request.WithContext(ctx)
	}
	get("X-User", "root", alice, rewrite)
	get("X-User", "root", rewrite)
	// Output:
	// map[X-Tenant:[acme] X-User:[alice]]
	// map[]
}

func ExampleRequire() {
	as := func(scopes ...string) gin.HandlerFunc {
		return func(c *gin.Context) {
			ctx := auth.NewContext(c.Request.Context(), &auth.Identity{Subject: "alice", Scopes: scopes})
			c.Request = c.Request.WithContext(ctx)
		}
	}
	fmt.Println(get("", "", as("chat", "batch"), auth.Require("batch")).Code)
	w := get("", "", as("chat"), auth.Require("batch"))
	fmt.Println(w.Code, w.Header().Get("WWW-Authenticate"))
	// Output:
	// 200
	// 403 Bearer realm="gateway", error="insufficient_scope", scope="batch"
}

func ExampleRequireModel() {
	r := gin.New()
	r.POST("/chat", func(c *gin.Context) {
		ctx := auth.NewContext(c.Request.Context(), &auth.Identity{Subject: "alice", Models: []string{"small-*"}})
		c.Request = c.Request.WithContext(ctx)
	}, auth.RequireModel(auth.RequireModelConfig{}), func(*gin.Context) {})
	for _, body := range []string{`{"model":"small-2"}`, `{"model":"large"}`, `{}`} {
		w := httptest.NewRecorder()
		r.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/chat", strings.NewReader(body)))
		fmt.Println(w.Code)
	}
	// Output:
	// 200
	// 403
	// 400
}
