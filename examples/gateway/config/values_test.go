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

// Counts beyond 32 bits are what the file says on every platform.
func TestLargeCounts(t *testing.T) {
	t.Parallel()
	for _, n := range []int64{3e9, 5e9} {
		text := gatewaytest.WithGroup(`, "limits": ["month"]`, fmt.Sprintf(`"limits": {"month": {"unit": "tokens", "by": "everybody", "budget": %[1]d, "period": "month"}}, "memory": {"body_budget": %[1]d}`, n))
		cfg, _, err := parse("my.json", text)
		require.NoError(t, err)
		assert.Equal(t, n, cfg.Limits["month"].Budget)
		assert.Equal(t, n, cfg.Memory.BodyBudget)
	}
}

func TestUnixSockets(t *testing.T) {
	t.Parallel()
	text := strings.Replace(gatewaytest.WithUpstream(""), "http://127.0.0.1:1", "unix:/run/vllm.sock:/v1", 1)
	text = `{"public": {"address": "unix:/run/gateway.sock", "socket_mode": "0600"}, "private": {"address": "unix:@admin"}, "trusted_proxies": ["unix", "10.0.0.0/8"],` + text[1:]
	cfg, _, err := parse("my.json", text)
	require.NoError(t, err)
	assert.Equal(t, "/run/gateway.sock", config.Socket(cfg.Public.Address))
	assert.Equal(t, "@admin", config.Socket(cfg.Private.Address))
	assert.Empty(t, config.Socket("127.0.0.1:8080"))
	for text, want := range map[string]int{"": 0o660, "0600": 0o600, "777": 0o777} {
		mode, err := config.Mode(text)
		require.NoError(t, err)
		assert.EqualValues(t, want, mode)
	}
	for _, text := range []string{"8", "01777", "rw", "-1"} {
		_, err := config.Mode(text)
		require.Error(t, err, text)
	}
}
