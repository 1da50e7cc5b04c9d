package apierror_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.TestMode)
	goleak.VerifyTestMain(m)
}

type handler = func(*gin.Context, error)

// handlers returns every handler that writes an error.
func handlers() map[string]handler {
	return map[string]handler{"Abort": apierror.Abort, "OpenAI": apierror.OpenAI, "Anthropic": apierror.Anthropic, "Problem": apierror.Problem}
}

// begin returns a request under way without any response yet.
func begin() (*gin.Context, *httptest.ResponseRecorder) {
	w := httptest.NewRecorder()
	c, _ := gin.CreateTestContext(w)
	c.Request = httptest.NewRequest(http.MethodPost, "/", nil)
	return c, w
}
