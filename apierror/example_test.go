package apierror_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
)

// show runs an aborting handler, and prints the response.
func show(abort func(*gin.Context, error)) {
	r := gin.New()
	r.GET("/", func(c *gin.Context) {
		abort(c, &apierror.Error{
			Status:     http.StatusTooManyRequests,
			Code:       "tokens_per_minute",
			Message:    "Too many tokens.",
			RetryAfter: 1500 * time.Millisecond,
			Err:        errors.New("for logs only"),
		})
	})
	w := httptest.NewRecorder()
	r.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	fmt.Println(w.Code, w.Header().Get("Content-Type"), w.Header().Get("Retry-After"))
	fmt.Println(w.Body)
}

func ExampleAbort() {
	show(apierror.Abort)
	// Output:
	// 429 application/problem+json 2
	// {"type":"about:blank","title":"Too Many Requests","status":429,"detail":"Too many tokens.","code":"tokens_per_minute","error":{"message":"Too many tokens.","type":"rate_limit_error","param":null,"code":"tokens_per_minute"}}
}

func ExampleOpenAI() {
	show(apierror.OpenAI)
	// Output:
	// 429 application/json 2
	// {"error":{"message":"Too many tokens.","type":"rate_limit_error","param":null,"code":"tokens_per_minute"}}
}

func ExampleAnthropic() {
	show(apierror.Anthropic)
	// Output:
	// 429 application/json 2
	// {"type":"error","error":{"type":"rate_limit_error","message":"Too many tokens."}}
}

func ExampleProblem() {
	show(apierror.Problem)
	// Output:
	// 429 application/problem+json 2
	// {"type":"about:blank","title":"Too Many Requests","status":429,"detail":"Too many tokens.","code":"tokens_per_minute"}
}
