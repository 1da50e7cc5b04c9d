package e2e_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dunglas/httpsfv"
	"github.com/ginfer/ginfer/internal/testkit/redistest"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// limitsConfig configures a gateway with limits in front of one server.
func limitsConfig(limits, group, upstream string, top ...string) string {
	return fmt.Sprintf(`{%s, "limits": {%s}, "upstreams": {"a": {"endpoints": [{"url": %q}]}}, "groups": [{"path": "/v1", "upstream": "a", %s}]}`,
		strings.Join(append(top, ports), ", "), limits, upstream, group)
}

// parseStructuredList reads a structured field (RFC 9651): a list of strings with numbers.
func parseStructuredList(t *testing.T, values []string) map[string]map[string]int64 {
	t.Helper()
	list, err := httpsfv.UnmarshalList(values)
	require.NoError(t, err)
	out := map[string]map[string]int64{}
	for _, member := range list {
		item, ok := member.(httpsfv.Item)
		require.True(t, ok)
		name, ok := item.Value.(string)
		require.True(t, ok, "a string in quotes")
		out[name] = map[string]int64{}
		for _, p := range item.Params.Names() {
			v, _ := item.Params.Get(p)
			out[name][p], ok = v.(int64)
			require.True(t, ok)
		}
	}
	return out
}

// Configured limits are enforced and reported in standard headers, and their usage survives a
// reload.
func TestLimits(t *testing.T) {
	upstream := echoUpstream(t)
	const limits = `"rpm": {"unit": "requests", "by": "subject", "rate": "6/m", "burst": 5}, "tpm": {"unit": "tokens", "by": "subject", "rate": "600/m", "burst": 1000},
		"day": {"unit": "tokens", "by": "everybody", "budget": 100000, "period": "day"}`
	p := start(t, limitsConfig(limits, `"limits": ["rpm", "tpm", "day"]`, upstream.URL))
	client := newClient(t, 1)
	key := []string{"Authorization", "Bearer " + p.token}
	res := p.sendChat(client, smallChat, key...)
	require.Equal(t, http.StatusOK, res.StatusCode)
	policy, state := parseStructuredList(t, res.Header["Ratelimit-Policy"]), parseStructuredList(t, res.Header["Ratelimit"])
	assert.Equal(t, map[string]map[string]int64{"rpm": {"q": 5, "w": 50}, "tpm": {"q": 1000, "w": 100}, "day": {"q": 100000, "w": 86400}}, policy)
	assert.Equal(t, map[string]int64{"r": 4, "t": 10}, state["rpm"])
	assert.InDelta(t, 1000-55, state["tpm"]["r"], 2, "as reserved")
	for _, name := range []string{"Limit-Requests", "Remaining-Requests", "Limit-Tokens", "Remaining-Tokens"} {
		_, err := strconv.Atoi(res.Header.Get("X-Ratelimit-" + name))
		require.NoError(t, err, name)
	}
	_, err := time.ParseDuration(res.Header.Get("X-Ratelimit-Reset-Requests"))
	require.NoError(t, err)
	for range 4 {
		require.Equal(t, http.StatusOK, p.sendChat(client, smallChat, key...).StatusCode)
	}
	res = p.sendChat(client, smallChat, key...)
	assert.Equal(t, http.StatusTooManyRequests, res.StatusCode)
	wait, err := strconv.Atoi(res.Header.Get("Retry-After"))
	require.NoError(t, err)
	assert.InDelta(t, 9, wait, 1)
	assert.Empty(t, res.Header.Get("X-Ratelimit-Limit-Tokens"), "a later limit")

	p.write(limitsConfig(strings.Replace(limits, `"burst": 5`, `"burst": 6`, 1), `"limits": ["rpm", "tpm", "day"], "proxy": {"attempts": 1}`, upstream.URL))
	require.Eventually(t, func() bool { return strings.Contains(p.stderr.String(), "configuration reloaded") }, 10*time.Second, 10*time.Millisecond)
	assert.Equal(t, http.StatusTooManyRequests, p.sendChat(client, smallChat, key...).StatusCode, "the usage survives")
}

// The OpenAI SDK retries after Retry-After, and reads the code of a refusal.
func TestLimitsAndSDK(t *testing.T) {
	p := start(t, fmt.Sprintf(`{%s, "limits": {"rps": {"unit": "requests", "by": "subject", "rate": "2/s", "burst": 1}, "day": {"unit": "tokens", "by": "tenant", "budget": 400, "period": "day"}},
		"groups": [{"path": "/v1", "upstream": "v1.2", "limits": ["rps", "day"]}]}`, ports))
	sdk := newSDK(t, p)
	begin := time.Now()
	for range 3 {
		_, err := sdk.Chat.Completions.New(t.Context(), ask("What is a gateway?", 20), ignoreEOS())
		require.NoError(t, err)
	}
	assert.GreaterOrEqual(t, time.Since(begin), 900*time.Millisecond, "three at two a second")
	var failed *openai.Error
	require.Eventually(t, func() bool {
		_, err := sdk.Chat.Completions.New(t.Context(), ask("What is a gateway?", 100), ignoreEOS(), option.WithMaxRetries(0))
		if err == nil {
			return false
		}
		require.ErrorAs(t, err, &failed)
		require.Equal(t, http.StatusTooManyRequests, failed.StatusCode)
		return failed.Code == "insufficient_quota"
	}, 20*time.Second, 600*time.Millisecond)
}

// Callers with a tag have their own limits; those over a rate may wait in a fair queue.
func TestLimitsByTag(t *testing.T) {
	upstream := echoUpstream(t)
	file := filepath.Join(t.TempDir(), "keys.json")
	gold, plain := newKey(t, "-file", file, "-subject", "g", "-tags", "gold"), newKey(t, "-file", file, "-subject", "p")
	p := start(t, limitsConfig(`"plain": {"unit": "requests", "by": "subject", "rate": "1/h", "burst": 2, "no_tag": "gold"}, "gold": {"unit": "requests", "by": "subject", "rate": "1/h", "burst": 20, "tag": "gold"},
		"all": {"unit": "requests", "by": "everybody", "rate": "20/s", "burst": 1}`, `"limits": ["plain", "gold", "all"], "wait": {"max": "5s", "priority": {"gold": 1}}`, upstream.URL, fmt.Sprintf(`"auth": {"keys": %q}`, file)))
	var mu sync.Mutex
	codes := map[string]map[int]int{gold: {}, plain: {}}
	client := newClient(t, 60)
	begin := time.Now()
	each(60, 60, func(i int) {
		key := []string{gold, plain}[i%2]
		res := p.sendChat(client, smallChat, "X-Api-Key", key)
		mu.Lock()
		defer mu.Unlock()
		codes[key][res.StatusCode]++
	})
	assert.Equal(t, map[int]int{200: 20, 429: 10}, codes[gold])
	assert.Equal(t, map[int]int{200: 2, 429: 28}, codes[plain])
	assert.Greater(t, time.Since(begin), time.Second, "22 at 20 a second")
}

// In-flight requests are bounded, and the private port reports their number.
func TestConcurrency(t *testing.T) {
	upstream, begun, release := heldStreams(t)
	p := start(t, limitsConfig("", `"concurrency": {"initial": 5, "min": 5, "max": 5}`, upstream.URL))
	client := newClient(t, 20)
	collect := openStreams(t, p, client, 5, begun)
	res, err := p.chat(client, "x", `{"model":"demo","stream":true}`)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	assert.Equal(t, http.StatusServiceUnavailable, res.StatusCode)
	assert.Equal(t, "1", res.Header.Get("Retry-After"))
	_, text := p.admin(http.MethodGet, "/admin/routes", "")
	assert.Contains(t, text, `"inflight":5,"concurrency":5`)
	release()
	assert.Equal(t, 5, collect())
	_, text = p.admin(http.MethodGet, "/admin/routes", "")
	assert.NotContains(t, text, `"inflight"`)
}

// Two gateways share their limits over a Redis that is killed, frozen and emptied. A budget
// survives everything but the last.
func TestGatewaysShareLimits(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	upstream := echoUpstream(t)
	config := limitsConfig(`"rps": {"unit": "requests", "by": "everybody", "rate": "1/h", "burst": 20}, "day": {"unit": "tokens", "by": "everybody", "budget": 500, "period": "day"}`,
		`"limits": ["rps", "day"]`, upstream.URL, fmt.Sprintf(`"redis": {"addresses": [%q], "replicas": 2, "timeout": "200ms"}`, server.Addr))
	t.Setenv("GATEWAY_TOKEN", "shared")
	a, b := start(t, config), start(t, config)
	client := newClient(t, 4)
	key := []string{"Authorization", "Bearer shared"}
	status := func(p *process) int { return p.sendChat(client, smallChat, key...).StatusCode }
	for i := range 10 { // 30 tokens each
		require.Equal(t, http.StatusOK, status([]*process{a, b}[i%2]), i)
	}
	left := func(p *process, limit string) int64 {
		return parseStructuredList(t, p.sendChat(client, smallChat, key...).Header["Ratelimit"])[limit]["r"]
	}
	assert.InDelta(t, 500-300-45, left(b, "day"), 15, "a's are counted at b")

	server.Kill()
	require.Eventually(t, func() bool { return status(a) == http.StatusOK }, 5*time.Second, 10*time.Millisecond, "its share")
	require.Eventually(t, func() bool { return strings.Contains(a.stderr.String(), "the store does not respond") }, patience, 10*time.Millisecond)
	server.Restart()
	require.Eventually(t, func() bool { status(a); return strings.Contains(a.stderr.String(), "the store responds again") }, 10*time.Second, 100*time.Millisecond)
	assert.LessOrEqual(t, left(a, "day"), int64(500-300), "a budget outlives a restart")

	server.Freeze()
	begin := time.Now()
	for range 5 {
		status(b)
	}
	assert.Less(t, time.Since(begin), 2*time.Second)
	server.Thaw()
	require.Eventually(t, func() bool { status(b); return strings.Contains(b.stderr.String(), "the store responds again") }, 10*time.Second, 100*time.Millisecond)

	require.Eventually(t, func() bool { return status(a) == http.StatusTooManyRequests && status(b) == http.StatusTooManyRequests }, 10*time.Second, time.Millisecond)
	server.MustDo("FLUSHALL")
	server.MustDo("SCRIPT", "FLUSH")
	require.Eventually(t, func() bool { return status(a) == http.StatusOK }, 10*time.Second, 100*time.Millisecond, "emptied, everything is full")
	assert.NotContains(t, server.MustDo("KEYS", "*"), "shared", "no secret in a key")
}

// A limit in shadow mode refuses no request; log and metrics report what it would refuse.
func TestShadowLimits(t *testing.T) {
	upstream := echoUpstream(t)
	const limits = `"held": {"unit": "requests", "by": "everybody", "rate": "1000/s"}, "trial": {"unit": "requests", "by": "everybody", "rate": "1/h", "burst": 2},
		"tokens": {"unit": "tokens", "by": "everybody", "rate": "1/h", "burst": 1}`
	shadowed := strings.NewReplacer(`"burst": 2`, `"burst": 2, "shadow": true`, `"burst": 1`, `"burst": 1, "shadow": true`).Replace(limits)
	p := start(t, limitsConfig(shadowed, `"limits": ["held", "trial", "tokens"]`, upstream.URL))
	client := newClient(t, 1)
	for range 5 {
		res := p.sendChat(client, smallChat, "Authorization", "Bearer "+p.token)
		require.Equal(t, http.StatusOK, res.StatusCode)
		require.NotContains(t, strings.Join(res.Header["Ratelimit"], ""), "trial")
	}
	require.Eventually(t, func() bool { return strings.Count(p.stderr.String(), `"gateway.limit.shadow":"t`) == 4 }, patience, 10*time.Millisecond)
	_, metrics := p.admin(http.MethodGet, "/metrics", "")
	assert.Regexp(t, `gateway_limit_decisions_total\{gateway_decision="would_refuse",gateway_limit="trial",gateway_limiter="/v1".*\} 3`, metrics)
	assert.Regexp(t, `gateway_limit_decisions_total\{gateway_decision="would_refuse",gateway_limit="tokens",gateway_limiter="/v1".*\} 4`, metrics)
}
