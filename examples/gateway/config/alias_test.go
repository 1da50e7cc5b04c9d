package config_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ginfer/ginfer/examples/gateway/config"
	"github.com/ginfer/ginfer/examples/gateway/gatewaytest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func parse(name, text string) (*config.Config, []string, error) {
	src := config.Source{Name: name, Text: []byte(text)}
	cfg, err := src.Parse()
	return cfg, src.Renamed(), err
}

// place returns a configuration with one member at the place of an alias.
func place(t *testing.T, at, name, value string) string {
	t.Helper()
	const redis = `"addresses": ["127.0.0.1:1"], "replicas": 1`
	member := fmt.Sprintf("%q: %s", name, value)
	switch at {
	case "groups.[].proxy":
		return gatewaytest.WithGroup(`, "proxy": {` + member + `}`)
	case "groups.[].cache":
		return gatewaytest.WithGroup(`, "cache": {` + member + `}`)
	case "upstreams.*":
		return gatewaytest.WithUpstream(`, ` + member)
	case "redis":
		return gatewaytest.WithGroup("", `"redis": {`+redis+`, `+member+`}`)
	}
	t.Fatalf("no example of %s", at)
	return ""
}

// Every name of an earlier release means what the new one does, with a warning that says so.
func TestAliases(t *testing.T) {
	t.Parallel()
	values := map[string]string{"tries": "2", "hold": `"3s"`, "sampled": "true", "when_down": `"fail_open"`}
	for _, a := range config.Aliases() {
		at, name, before, after := a.At, a.Old, values[a.Old], values[a.Old]
		if a.Value {
			i := strings.LastIndex(a.At, ".")
			at, name, before, after = a.At[:i], a.At[i+1:], fmt.Sprintf("%q", a.Old), fmt.Sprintf("%q", a.New)
		}
		today := a.New
		if a.Value {
			today = strings.Replace(name, "when_down", "failure_mode", 1)
		}
		got, warnings, err := parse("x.json", place(t, at, name, before))
		require.NoError(t, err, a)
		want, none, err := parse("x.json", place(t, at, today, after))
		require.NoError(t, err, a)
		assert.Equal(t, want, got, a)
		assert.Empty(t, none)
		assert.Contains(t, strings.Join(warnings, "\n"), fmt.Sprintf("is now %q", a.New))
		if a.Value {
			continue
		}
		_, _, err = parse("x.json", strings.Replace(place(t, at, name, before), `"`+a.Old, `"`+a.New+`": `+before+`, "`+a.Old, 1))
		require.ErrorContains(t, err, a.Old+": is the old name of "+a.New+"; set only "+a.New)
	}
}

func TestAliasesInPlace(t *testing.T) {
	t.Parallel()
	t.Run("warnings name the place", func(t *testing.T) {
		t.Parallel()
		_, warnings, err := parse("x.json", `{"upstreams": {"a.b": {"policy": "cadence", "endpoints": [{"url": "http://127.0.0.1:1"}]}},
			"groups": [{"path": "/", "stages": [], "upstream": "a.b", "proxy": {"hold": "1s", "tries": 2}}]}`)
		require.NoError(t, err)
		assert.Equal(t, []string{`upstreams.a.b.policy: "cadence" is now "token_rate"`, `groups[0].proxy.hold is now "prefetch"`, `groups[0].proxy.tries is now "attempts"`}, warnings)
	})
	t.Run("faults keep their line and the name that was written", func(t *testing.T) {
		t.Parallel()
		_, _, err := parse("x.json", "{\"redis\": {\"addresses\": [\"x:1\"],\n\"when_down\": \"deny\"},\n"+gatewaytest.UpstreamA+", \"groups\": [{\"path\": \"/\",\n\"proxy\": {\"tries\":\n99}, \"upstream\":\n\"b\"}]}")
		require.ErrorContains(t, err, "x.json:5: groups[0].proxy.tries: must be 1 to 10")
		require.ErrorContains(t, err, "x.json:6: groups[0].upstream")
		_, _, err = parse("x.json", gatewaytest.WithGroup(`, "proxy": {"tries": "many"}`))
		require.ErrorContains(t, err, "x.json:1: groups[0].proxy.tries: a string can't stand here")
	})
	t.Run("escaped, and in YAML", func(t *testing.T) {
		t.Parallel()
		cfg, _, err := parse("x.json", gatewaytest.WithGroup(`, "proxy": {"\u0074ries": 2}`))
		require.NoError(t, err)
		assert.Equal(t, 2, cfg.Groups[0].Proxy.Attempts)
		cfg, warnings, err := parse("x.yaml", "upstreams: {a: {policy: conversations, endpoints: [{url: 'http://127.0.0.1:1'}]}}\ngroups: [{path: /, stages: [], upstream: a}]\n")
		require.NoError(t, err)
		assert.Equal(t, "prefix_affinity", cfg.Upstreams["a"].Policy)
		assert.Len(t, warnings, 1)
	})
	t.Run("nowhere else", func(t *testing.T) {
		t.Parallel()
		cfg, warnings, err := parse("x.json", gatewaytest.WithUpstream(`, "headers": {"policy": "cadence", "tries": "1", "hold": "2"}`))
		require.NoError(t, err)
		assert.Equal(t, map[string]string{"policy": "cadence", "tries": "1", "hold": "2"}, cfg.Upstreams["a"].Headers)
		assert.Empty(t, warnings)
		_, _, err = parse("x.json", gatewaytest.WithGroup(`, "tries": 2`))
		require.ErrorContains(t, err, "groups[0].tries: unknown field")
	})
}
