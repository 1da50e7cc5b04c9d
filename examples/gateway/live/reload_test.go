package live_test

import (
	"bytes"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/ginfer/ginfer/examples/gateway/chain"
	"github.com/ginfer/ginfer/examples/gateway/config"
	"github.com/ginfer/ginfer/examples/gateway/gatewaytest"
	"github.com/ginfer/ginfer/examples/gateway/live"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// All faults are reported at once.
func TestAllFaults(t *testing.T) {
	t.Parallel()
	_, err := gatewaytest.Load(t, gatewaytest.Write(t, "my.json", `{"public": {"address": "x"}, "groups": [{"path": "a", "stages": ["b"], "upstream": "v9"}]}`))
	for _, want := range []string{"public.address", "groups[0].path", "groups[0].stages[0]", "groups[0].upstream"} {
		require.ErrorContains(t, err, want)
	}
}

func TestYAML(t *testing.T) {
	t.Parallel()
	const text = `
upstreams:
  a:
    endpoints: [{url: "http://127.0.0.1:1"}]
groups:
  - path: /
    stages: []
    upstream: a
    proxy: {idle: 30s}
`
	g, err := gatewaytest.Load(t, gatewaytest.Write(t, "my.yaml", text))
	require.NoError(t, err)
	assert.Equal(t, "30s", mustText(t, g.Current().Config.Groups[0].Proxy.Idle))
	_, err = gatewaytest.Load(t, gatewaytest.Write(t, "my.yml", text+"groups: []\n"))
	require.ErrorContains(t, err, "my.yml", "a key twice")
	_, err = gatewaytest.Load(t, gatewaytest.Write(t, "my.yaml", strings.Replace(text, "upstream: a", "upstrem: a", 1)))
	assert.ErrorContains(t, err, "groups[0].upstrem: unknown field")
}

func mustText(t *testing.T, d config.Duration) string {
	t.Helper()
	b, err := d.MarshalJSON()
	require.NoError(t, err)
	return strings.Trim(string(b), `"`)
}

// A refused change leaves what is in force, and says why.
func TestRefusedReload(t *testing.T) {
	t.Parallel()
	path := gatewaytest.Write(t, "my.json", gatewaytest.WithGroup(""))
	g, err := gatewaytest.Load(t, path)
	require.NoError(t, err)
	before := g.Current()
	require.NoError(t, os.WriteFile(path, []byte(`{"groups": []}`), 0o600))
	require.Error(t, g.Load(t.Context()))
	assert.Same(t, before, g.Current())
	assert.Contains(t, g.Status().LastError, "groups: at least one is needed")
	require.NoError(t, os.WriteFile(path, []byte(gatewaytest.WithGroup("")), 0o600))
	require.NoError(t, g.Load(t.Context()))
	assert.Empty(t, g.Status().LastError)
	assert.Same(t, before, g.Current(), "the same text is no change")
}

// A pool that did not change keeps its health and counts over a reload.
func TestPoolsOutliveReloads(t *testing.T) {
	t.Parallel()
	path := gatewaytest.Write(t, "my.json", gatewaytest.WithGroup(""))
	g, err := gatewaytest.Load(t, path)
	require.NoError(t, err)
	before := g.Current().Upstreams["a"]
	require.NoError(t, os.WriteFile(path, []byte(gatewaytest.WithGroup(`, "proxy": {"attempts": 1}`)), 0o600))
	require.NoError(t, g.Load(t.Context()))
	assert.Same(t, before, g.Current().Upstreams["a"])
	require.NoError(t, os.WriteFile(path, []byte(gatewaytest.WithUpstream(`, "slow_start": "1s"`)), 0o600))
	require.NoError(t, g.Load(t.Context()))
	assert.NotSame(t, before, g.Current().Upstreams["a"])
}

// Names of an earlier release are accepted, and the log says which are the new ones.
func TestOldNamesAreLogged(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	g := live.New(live.NewLog(&log, slog.LevelInfo), gatewaytest.Write(t, "my.json", strings.Replace(gatewaytest.WithGroup(`, "proxy": {"tries": 2}`), "{", `{"log": {"sync": true}, `, 1)), chain.Order())
	t.Cleanup(g.Close)
	require.NoError(t, g.Load(t.Context()))
	assert.Equal(t, 2, g.Current().Config.Groups[0].Proxy.Attempts)
	assert.Contains(t, log.String(), `"level":"WARN"`)
	assert.Contains(t, log.String(), `groups[0].proxy.tries is now \"attempts\"`)
}
