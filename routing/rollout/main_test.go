package rollout_test

import (
	"io"
	"net/http"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/routing"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.TestMode)
	goleak.VerifyTestMain(m)
}

// sent sends a decided request, reads the response, and returns the version that served it.
func sent(router *routing.Router, r *http.Request) (version string, err error) {
	res, err := router.Transport().RoundTrip(r)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	_, err = io.Copy(io.Discard, res.Body)
	return res.Header.Get("X-Model-Version"), err
}
