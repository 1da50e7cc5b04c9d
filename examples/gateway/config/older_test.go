package config_test

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ginfer/ginfer/examples/gateway/config"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// olderKeys are the keys in the schema of commit b1d6ddd, each with its type.
//
//go:embed testdata/b1d6ddd_keys.txt
var olderKeys string

// olderConfigs are the configurations in the guides of that commit.
//
//go:embed testdata/b1d6ddd_configs.json
var olderConfigs []byte

// nested returns JSON with a value at a path of olderKeys.
func nested(path []string, value string) string {
	if len(path) == 0 {
		return value
	}
	inner := nested(path[1:], value)
	switch path[0] {
	case "[]":
		return "[" + inner + "]"
	case "*":
		return `{"x": ` + inner + "}"
	}
	return fmt.Sprintf("{%q: %s}", path[0], inner)
}

// Every key of that release is known, or known by another name with a warning.
func TestOlderKeysAreKnown(t *testing.T) {
	t.Parallel()
	values := map[string]string{"string": `"x"`, "duration": `"1s"`, "integer": "1", "number": "1", "boolean": "true", "object": "{}", "array": "[]", "any": "{}"}
	renamed := 0
	for line := range strings.Lines(olderKeys) {
		path, kind, _ := strings.Cut(strings.TrimSpace(line), " ")
		require.Contains(t, values, kind, path)
		segments := strings.Split(path, ".")
		_, warnings, err := parse("x.json", nested(segments, values[kind]))
		require.Error(t, err, "it is not whole")
		assert.NotContains(t, err.Error(), "unknown field", path)
		assert.NotContains(t, err.Error(), "can't stand here", path)
		name := segments[len(segments)-1]
		if old := slices.ContainsFunc(config.Aliases(), func(a config.Alias) bool {
			return !a.Value && a.Old == name && strings.HasPrefix(path, a.At+".")
		}); old {
			renamed++
			assert.Len(t, warnings, 1, path)
			continue
		}
		assert.Empty(t, warnings, path)
	}
	require.Equal(t, 4, renamed)
}

// The configurations in the guides of that release are valid, and each old name is warned of.
func TestOlderConfigsAreValid(t *testing.T) {
	t.Parallel()
	var configs []struct {
		From string
		Text json.RawMessage
	}
	require.NoError(t, json.Unmarshal(olderConfigs, &configs))
	require.NotEmpty(t, configs)
	found := map[string]int{} // warnings
	var unused []string
	for _, c := range configs {
		text := strings.NewReplacer("${OPENAI_API_KEY}", "secret", "${OAUTH_SECRET}", "secret").Replace(string(c.Text))
		src := config.Source{Name: c.From, Text: []byte(text)}
		_, err := src.Parse()
		require.NoError(t, err, c.From)
		found[c.From] += len(src.Renamed())
		unused = append(unused, src.Unused()...)
	}
	require.Equal(t, map[string]int{
		"docs/batches.md": 0, "docs/release.md": 0, "docs/secure.md": 0, "docs/vllm.md": 1, // hold
		"docs/replicas.md":             2, // redis.when_down, and its value
		"examples/gateway/README.md":   0,
		"examples/gateway/config.json": 1, // tries
	}, found)
	require.Equal(t, []string{"groups[0].stream.idle is never reached: proxy.idle ends a response after 1m0s"}, unused)
}
