package live_test

import (
	"fmt"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/ginfer/ginfer/examples/gateway/config"
	"github.com/ginfer/ginfer/examples/gateway/gatewaytest"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The timeout of the configuration bounds a call to a Redis that does not respond.
func TestRedisTimeout(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = ln.Close() }() // it takes connections and never responds
	g, err := gatewaytest.Load(t, "")
	require.NoError(t, err)
	s, err := g.NewBuckets(&config.Redis{Addresses: []string{ln.Addr().String()}, FailureMode: "fail_closed", Timeout: config.Duration(400 * time.Millisecond)})
	require.NoError(t, err)
	defer s.Close()
	begun := time.Now()
	require.ErrorIs(t, s.Value.Take(t.Context(), []ratelimit.Charge{{Bucket: ratelimit.Bucket{Limit: "l", Key: "k", Rate: 1, Burst: 1}, Cost: 1}}), ratelimit.ErrUnavailable)
	assert.InDelta(t, 400, time.Since(begun).Milliseconds(), 150)
}

// Limits and tags may have any name.
func TestNamesLikeFields(t *testing.T) {
	t.Parallel()
	_, err := gatewaytest.Load(t, gatewaytest.Write(t, "my.json", `{`+gatewaytest.UpstreamA+`, "limits": {"IP": {"unit": "requests", "by": "ip", "rate": "1/s"}},
		"groups": [{"path": "/", "upstream": "a", "limits": ["IP"], "wait": {"max": "1s", "priority": {"Master": 1}}}]}`))
	require.NoError(t, err)
}

// A configuration that is refused leaves no queue behind, which could not be changed.
func TestQueueOfARefusedConfig(t *testing.T) {
	t.Parallel()
	g, err := gatewaytest.Load(t, gatewaytest.Write(t, "my.json", fmt.Sprintf(`{%s, "queue": {"dir": %q},
		"groups": [{"path": "/", "queue": true, "routing": {"table": {"routes": [{"version": "zz"}]}}}]}`, gatewaytest.UpstreamA, filepath.Join(t.TempDir(), "queue"))))
	require.ErrorContains(t, err, `there is no upstream "zz"`)
	assert.Nil(t, g.Current())
	src := config.Source{Name: "my.json", Text: []byte(gatewaytest.WithGroup(""))}
	require.NoError(t, g.Apply(t.Context(), src, ""))
	assert.Nil(t, g.Current().Queue)
}
