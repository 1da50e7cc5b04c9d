package e2e_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/gin-gonic/gin"
	"go.uber.org/goleak"
)

// gatewayBinary is the reference gateway, built once for all tests.
var gatewayBinary string

func TestMain(m *testing.M) {
	gin.SetMode(gin.ReleaseMode)
	dir, err := os.MkdirTemp("", "ginfer-e2e")
	if err != nil {
		fail(err)
	}
	gatewayBinary = filepath.Join(dir, "gateway")
	args := []string{"build", "-o", gatewayBinary}
	if raced {
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, "github.com/ginfer/ginfer/examples/gateway")...)
	if out, err := build.CombinedOutput(); err != nil {
		fail(fmt.Errorf("%w\n%s", err, out))
	}
	warmBreakers()
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		if filter := flag.Lookup("test.run"); code == 0 && filter.Value.String() == "" && reportStale() {
			code = 1
		}
		os.Exit(code)
	}),
		// hystrix never stops them; see package breaker.
		goleak.IgnoreAnyFunction("github.com/afex/hystrix-go/hystrix.(*metricExchange).Monitor"),
		goleak.IgnoreAnyFunction("github.com/afex/hystrix-go/hystrix.(*poolMetrics).Monitor"),
	)
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
