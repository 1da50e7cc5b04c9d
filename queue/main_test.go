package queue_test

import (
	"os"
	"testing"

	"github.com/gin-gonic/gin"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.TestMode)
	if run, ok := children[os.Getenv(childEnv)]; ok {
		run()
		return
	}
	goleak.VerifyTestMain(m)
}
