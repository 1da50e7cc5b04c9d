package events_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/observe"
	"github.com/ginfer/ginfer/observe/events"
	"github.com/ginfer/ginfer/routing"
)

// plain removes attributes that differ in every run.
func plain(_ []string, a slog.Attr) slog.Attr {
	switch a.Key {
	case slog.TimeKey, "duration_ms", "first_byte_ms":
		return slog.Attr{}
	}
	return a
}

// Events fill the line of their request. The hooks are the OnEvent of each package.
func ExampleHooks() {
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: plain}))
	access, err := observe.NewAccessLog(observe.AccessLogConfig{Logger: logger})
	if err != nil {
		fmt.Println(err)
		return
	}
	hooks := events.Hooks{}
	table, err := routing.ParseTable([]byte(`{"routes": [{"model": "demo", "version": "v1.2"}]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	router, err := routing.New(routing.Config{
		Table: table, Upstreams: map[string]http.RoundTripper{"v1.2": http.DefaultTransport}, Cookie: "-", OnEvent: hooks.Routing,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	r := gin.New()
	r.POST("/v1/chat/completions", access.Middleware(), router.Middleware(), func(c *gin.Context) { c.Status(http.StatusNoContent) })

	req := httptest.NewRequest(http.MethodPost, "/v1/chat/completions", strings.NewReader(`{"model":"demo"}`))
	req.Header.Set("X-Request-ID", "42")
	r.ServeHTTP(httptest.NewRecorder(), req)
	// Output: level=INFO msg=request request_id=42 http.request.method=POST http.route=/v1/chat/completions network.protocol.version=1.1 http.response.status_code=204 outcome=success gen_ai.operation.name=chat gen_ai.request.model=demo gateway.route.version=v1.2 http.request.body.size=16 http.response.body.size=0
}
