// Package need skips tests when their tools are missing.
package need

import (
	"fmt"
	"os"
	"testing"
)

// Missing skips a test because a tool is missing. It fails the test instead when the
// environment variable is 1, as in CI.
func Missing(tb testing.TB, variable, format string, args ...any) {
	tb.Helper()
	reason := fmt.Sprintf(format, args...)
	if os.Getenv(variable) == "1" {
		tb.Fatal(reason)
	}
	tb.Skip(reason)
}

// Minutes skips a test that takes minutes, unless GINFER_NEIGHBOURS is 1 as in `make
// neighbours`.
func Minutes(tb testing.TB) {
	tb.Helper()
	if os.Getenv("GINFER_NEIGHBOURS") != "1" {
		tb.Skip("takes minutes: run by make neighbours")
	}
}
