package routing_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/routing"
)

func ExampleNew() {
	table, err := routing.ParseTable([]byte(`{"routes": [
		{"model": "demo", "version": "v1.3", "conditions": {"headers": {"beta-user": "true"}}},
		{"model": "demo", "version": "v1.2", "weight": 90},
		{"model": "demo", "version": "v1.3", "weight": 10, "fallback": ["v1.2"]}
	]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	router, err := routing.New(routing.Config{
		Table:        table,
		Upstreams:    map[string]http.RoundTripper{"v1.2": http.DefaultTransport, "v1.3": http.DefaultTransport},
		StickyHeader: "X-User-Id",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	r := gin.New()
	r.POST("/v1/chat/completions", router.Middleware(), func(c *gin.Context) {
		decision, _ := routing.FromContext(c.Request.Context())
		c.String(http.StatusOK, decision.Version) // usually: a proxy with router.Transport()
	})
	req := httptest.NewRequest(http.MethodPost, "/v1/chat/completions", strings.NewReader(`{"model":"demo"}`))
	req.Header.Set("Beta-User", "true")
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	fmt.Println(w.Body, w.Header().Get("X-Model-Version"))
	// Output: v1.3 v1.3
}

func ExampleParseTable() {
	_, err := routing.ParseTable([]byte(`{"routes": [{"version": "v1", "wieght": 90}, {"weight": -1}]}`))
	fmt.Println(err)
	_, err = routing.ParseTable([]byte(`{"routes": [{"version": "v1", "weight": 90}, {"weight": -1}]}`))
	fmt.Println(err)
	// Output:
	// routes[0].wieght: unknown field
	// routes[1].version: a name is needed; routes[1].weight: -1 is not within 0 and 1e+09
}

func ExampleCapabilities() {
	table, err := routing.ParseTable([]byte(`{"routes": [
		{"model": "small", "version": "llama-8b", "capabilities": {"tools": true, "context": 8192}, "fallback": ["gpt-mini"]},
		{"model": "mini", "version": "gpt-mini", "capabilities": {"tools": true, "json_schema": true, "vision": true}}
	]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	hello := roundTripper(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader("Hello"))}, nil
	})
	router, err := routing.New(routing.Config{
		Table:     table,
		Upstreams: map[string]http.RoundTripper{"llama-8b": hello, "gpt-mini": hello},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	gateway := gin.New()
	gateway.POST("/v1/chat/completions", router.Middleware(), func(c *gin.Context) {
		res, err := router.Transport().RoundTrip(c.Request) // usually: by a proxy
		if err != nil {
			c.Status(http.StatusBadGateway)
			return
		}
		defer func() { _ = res.Body.Close() }()
		fmt.Printf("%s served by %s\n", res.Header.Get("X-Model"), res.Header.Get("X-Model-Version"))
		if from := res.Header.Get("X-Fallback-From"); from != "" {
			fmt.Println("instead of", from)
		}
	})
	for _, body := range []string{
		`{"model": "small", "messages": [{"role": "user", "content": "Hello"}]}`,
		`{"model": "small", "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]}]}`,
	} {
		req := httptest.NewRequest(http.MethodPost, "/v1/chat/completions", strings.NewReader(body))
		gateway.ServeHTTP(httptest.NewRecorder(), req)
	}
	// Output:
	// small served by llama-8b
	// mini served by gpt-mini
	// instead of llama-8b
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
