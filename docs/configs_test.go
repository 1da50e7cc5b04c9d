package docs_test

import (
	"path/filepath"
	"testing"

	"github.com/ginfer/ginfer/examples/gateway/gatewaytest"
	"github.com/stretchr/testify/require"
)

// The configurations in the guides are valid.
func TestConfigs(t *testing.T) {
	pages, err := filepath.Glob("*.md")
	require.NoError(t, err)
	require.NotEmpty(t, pages)
	gatewaytest.CheckConfigs(t, pages...)
}
