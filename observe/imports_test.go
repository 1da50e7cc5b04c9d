package observe_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// An application that has only the access log links none of the packages with events that
// package events adapts.
func TestImportsNoFeature(t *testing.T) {
	t.Parallel()
	const module = "github.com/ginfer/ginfer/"
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	require.NoError(t, err)
	var own []string
	for dep := range strings.FieldsSeq(string(out)) {
		name, ok := strings.CutPrefix(dep, module)
		if ok && name != "apierror" && name != "observe" && !strings.HasPrefix(name, "internal/") && !strings.HasPrefix(name, "observe/internal/") {
			own = append(own, name)
		}
	}
	assert.Empty(t, own)
	assert.Contains(t, string(out), module+"observe")
}
