package routing_test

import (
	"fmt"
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
	// routes[1].version: a name is needed
	// routes[1].weight: -1 is not within 0 and 1e+09
}
