package proxy_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"time"

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

// One of two endpoints responds with 200 and then an error. The client receives only the
// other's response.
func ExampleConfig() {
	responses := []string{
		"data: {\"error\":{\"message\":\"out of memory\",\"code\":500}}\n\n",
		"data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\ndata: [DONE]\n\n",
	}
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, responses[0])
		responses = responses[1:]
	}))
	defer upstream.Close()
	target, _ := url.Parse(upstream.URL)
	p, err := proxy.New(proxy.Config{
		Transport: http.DefaultTransport,
		Target:    target,
		Retry:     proxy.Retry{Repeat: proxy.Always}, // a repeated call only costs tokens
		Hedge:     &proxy.Hedge{Ratio: 0.05},
		Class:     func(c *gin.Context) string { return c.GetString("model") },
		Timeouts:  proxy.Timeouts{FirstByte: 30 * time.Second, Hold: 20 * time.Second},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	router := gin.New()
	router.POST("/v1/*path", p.Handler())
	gateway := httptest.NewServer(router)
	defer gateway.Close()

	res, err := http.Post(gateway.URL+"/v1/chat/completions", "application/json", strings.NewReader(`{"model":"m","stream":true}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	fmt.Printf("%d %v\n%s", res.StatusCode, err, body)
	// Output:
	// 200 <nil>
	// data: {"choices":[{"delta":{"content":"Hi"}}]}
	//
	// data: [DONE]
}
