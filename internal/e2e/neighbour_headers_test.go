package e2e_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gin-contrib/cors"
	"github.com/gin-contrib/secure"
	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/cache"
	"github.com/ginfer/ginfer/proxy"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// permissive are the headers of an upstream that allows everything.
func permissive() map[string]string {
	return map[string]string{
		"Access-Control-Allow-Origin":       "*",
		"Access-Control-Allow-Credentials":  "true",
		"Access-Control-Expose-Headers":     "X-Secret",
		"Strict-Transport-Security":         "max-age=0",
		"X-Frame-Options":                   "ALLOWALL",
		"Content-Security-Policy":           "default-src *",
		"X-Content-Type-Options":            "sniff",
		"X-Xss-Protection":                  "0",
		"Referrer-Policy":                   "unsafe-url",
		"Permissions-Policy":                "camera=*",
		"Cross-Origin-Opener-Policy":        "unsafe-none",
		"Cross-Origin-Resource-Policy":      "cross-origin",
		"Cross-Origin-Embedder-Policy":      "unsafe-none",
		"X-Permitted-Cross-Domain-Policies": "all",
	}
}

// behindApp is a gateway with an application's middlewares in front of a cache and a proxy.
func behindApp(t *testing.T, first ...gin.HandlerFunc) string {
	t.Helper()
	upstream := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		for name, value := range permissive() {
			w.Header().Set(name, value)
		}
		w.Header().Set("Vary", "Accept-Encoding")
		w.Header().Set("X-Own", "upstream")
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"choices":[{"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}]}`)
	}))
	target, err := url.Parse(upstream.URL)
	require.NoError(t, err)
	p, err := proxy.New(proxy.Config{Target: target, Transport: newTransport(t, proxy.TransportConfig{})})
	require.NoError(t, err)
	responses, err := cache.New(cache.Config{Scope: func(*gin.Context) (string, error) { return "all", nil }, LLM: cache.LLM{TTL: time.Minute}})
	require.NoError(t, err)
	r := gin.New()
	r.Use(first...)
	r.Any("/*path", responses.Middleware(), p.Handler())
	return newServer(t, r).URL
}

// fetchHeader returns the header of a response to a page of origin; "": not a page.
func fetchHeader(t *testing.T, method, address, origin, body string) http.Header {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	if origin != "" {
		req.Header.Set("Origin", origin)
	}
	res, err := newClient(t, 1).Do(req)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	_, _ = io.Copy(io.Discard, res.Body)
	require.Equal(t, http.StatusOK, res.StatusCode)
	return res.Header
}

const appOrigin = "https://app.example.com"

// What the application says on CORS and security stands over the upstream's, through the proxy,
// the cache and coalescing; what it says nothing of passes.
func TestNeighbourHeaders(t *testing.T) { //nolint:gocognit // a table
	t.Parallel()
	origins := cors.New(cors.Config{AllowOrigins: []string{appOrigin}, AllowMethods: []string{"POST", "GET"}, ExposeHeaders: []string{"X-Request-Id"}})
	security := secure.New(secure.Config{
		STSSeconds: 31536000, STSIncludeSubdomains: true, FrameDeny: true, ContentTypeNosniff: true, BrowserXssFilter: true,
		ContentSecurityPolicy: "default-src 'self'", ReferrerPolicy: "no-referrer", FeaturePolicy: "camera 'none'",
		SSLProxyHeaders: map[string]string{}, IsDevelopment: false, STSPreload: true,
	})
	more := func(c *gin.Context) {
		c.Header("Permissions-Policy", "camera=()")
		c.Header("Cross-Origin-Opener-Policy", "same-origin")
		c.Header("Cross-Origin-Resource-Policy", "same-site")
	}
	chat := `{"model":"m","temperature":0,"messages":[{"role":"user","content":"hi"}]}`
	for name, send := range map[string]func(address, origin string) http.Header{
		"a model": func(address, origin string) http.Header {
			return fetchHeader(t, http.MethodPost, address+"/v1/chat/completions", origin, chat)
		},
		"a resource": func(address, origin string) http.Header {
			return fetchHeader(t, http.MethodGet, address+"/x", origin, "")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := behindApp(t, origins, security, more)
			// The first fills the cache without an origin, the others are hits.
			for i, origin := range []string{"", appOrigin, appOrigin} {
				whole := i == 0 || name == "a resource" // of a model's response few headers are stored
				h := send(address, origin)
				want := map[string]string{
					"Strict-Transport-Security": "", "X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'self'",
					"Referrer-Policy": "no-referrer", "Permissions-Policy": "camera=()", "Cross-Origin-Opener-Policy": "same-origin",
					"Cross-Origin-Resource-Policy": "same-site", "Cross-Origin-Embedder-Policy": "unsafe-none", "X-Own": "upstream",
				}
				for name, value := range want {
					if value != "" && (whole || value != "unsafe-none" && value != "upstream") {
						assert.Equal(t, []string{value}, h[name], name)
					}
				}
				if origin != "" {
					assert.Equal(t, []string{appOrigin}, h["Access-Control-Allow-Origin"])
					assert.Empty(t, h["Access-Control-Allow-Credentials"], "the upstream's does not extend the application's")
					assert.Equal(t, []string{"X-Request-Id"}, h["Access-Control-Expose-Headers"])
					assert.Contains(t, h["Vary"], "Origin")
				}
				if whole {
					assert.Contains(t, h["Vary"], "Accept-Encoding")
				}
			}
			address = behindApp(t)
			for range 2 {
				h := send(address, appOrigin)
				if name == "a model" && h.Get("Age") != "" {
					continue
				}
				for name, value := range permissive() {
					assert.Equal(t, []string{value}, h[name], "nothing is set: the upstream's passes")
				}
			}
		})
	}
}
