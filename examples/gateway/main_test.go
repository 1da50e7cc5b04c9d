package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.ReleaseMode)
	goleak.VerifyTestMain(m,
		// hystrix never ends them; see package breaker.
		goleak.IgnoreAnyFunction("github.com/afex/hystrix-go/hystrix.(*metricExchange).Monitor"),
		goleak.IgnoreAnyFunction("github.com/afex/hystrix-go/hystrix.(*poolMetrics).Monitor"),
	)
}

// write puts text into a file of a new folder.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// load makes a gateway of a configuration, without ports.
func load(t *testing.T, path string) (*gateway, error) {
	t.Helper()
	g := newGateway(slog.New(slog.DiscardHandler), path)
	t.Cleanup(g.close)
	return g, g.load(t.Context())
}
