package proxy_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/proxy"
)

func ExampleNew() {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, "%s for %s", r.URL.Path, r.Header.Get("X-User"))
	}))
	defer upstream.Close()
	target, err := url.Parse(upstream.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	transport, err := proxy.NewTransport(proxy.TransportConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer transport.CloseIdleConnections()

	p, err := proxy.New(proxy.Config{
		Transport: transport,
		Target:    target,
		Rewrite:   func(c *gin.Context, out *http.Request) { out.Header.Set("X-User", c.GetString("user")) },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	router := gin.New()
	router.Use(func(c *gin.Context) { c.Set("user", "alice") }) // an authentication
	router.Any("/v1/*path", p.Handler())
	gateway := httptest.NewServer(router)
	defer gateway.Close()

	res, err := http.Get(gateway.URL + "/v1/models")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	fmt.Println(res.StatusCode, string(body), err)
	// Output: 200 /v1/models for alice <nil>
}
