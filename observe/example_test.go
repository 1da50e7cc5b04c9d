package observe_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/observe"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// plain removes attributes that differ in every run.
func plain(_ []string, a slog.Attr) slog.Attr {
	switch a.Key {
	case slog.TimeKey, "duration_ms", "first_byte_ms":
		return slog.Attr{}
	}
	return a
}

func ExampleNewAccessLog() {
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: plain}))
	access, err := observe.NewAccessLog(observe.AccessLogConfig{Logger: logger})
	if err != nil {
		fmt.Println(err)
		return
	}
	r := gin.New()
	r.Use(access.Middleware())
	r.GET("/models/:name", func(c *gin.Context) { c.String(http.StatusOK, "here it is") })

	req := httptest.NewRequest(http.MethodGet, "/models/small?api_key=secret", http.NoBody)
	req.Header.Set("X-Request-ID", "42")
	r.ServeHTTP(httptest.NewRecorder(), req)
	// Output: level=INFO msg=request request_id=42 http.request.method=GET http.route=/models/:name network.protocol.version=1.1 http.response.status_code=200 outcome=success http.response.body.size=10
}

func ExampleNewMetrics() {
	reader := sdkmetric.NewManualReader() // in a gateway: package otelsetup
	metrics, err := observe.NewMetrics(observe.MetricsConfig{
		MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)), Models: []string{"demo"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = metrics.Close() }()
	r := gin.New()
	r.GET("/", metrics.Middleware(), func(c *gin.Context) { c.Status(http.StatusOK) })
	w := httptest.NewRecorder()
	r.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", http.NoBody))
	fmt.Println(w.Code)
	// Output: 200
}

func ExampleNewTracing() {
	provider := sdktrace.NewTracerProvider() // in a gateway: package otelsetup
	tracing, err := observe.NewTracing(observe.TracingConfig{TracerProvider: provider, Untrusted: func(*http.Request) bool { return true }})
	if err != nil {
		fmt.Println(err)
		return
	}
	upstream := tracing.Transport(http.DefaultTransport)
	r := gin.New()
	r.GET("/", tracing.Middleware(), func(c *gin.Context) { _ = upstream }) // a proxy sends the request through upstream
	w := httptest.NewRecorder()
	r.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", http.NoBody))
	fmt.Println(w.Code)
	// Output: 200
}

func ExampleNewRecent() {
	recent, err := observe.NewRecent(observe.RecentConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	r := gin.New()
	r.GET("/", recent.Middleware(), func(c *gin.Context) { c.Status(http.StatusOK) })
	r.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", http.NoBody))

	private := http.NewServeMux() // or package private
	private.Handle("/debug/requests", recent.Handler())
	w := httptest.NewRecorder()
	private.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/debug/requests", http.NoBody))
	fmt.Println(w.Code, strings.Contains(w.Body.String(), "latest (1)"))
	// Output: 200 true
}

func ExamplePseudonyms() {
	name, err := observe.Pseudonyms([]byte("a key of at least thirty-two bytes"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(name(observe.Caller{Issuer: "https://op.example", Subject: "alice@example.com"}))
	// Output: 9d77e5063886bf16415c9472ea28c81d
}
