package e2e_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ginfer/ginfer/observe"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Requests of the tests. The cache stores responses of temperature 0 only.
const (
	jsonChat    = `{"model":"demo","messages":[{"role":"user","content":"the secret prompt"}]}`
	streamChat  = `{"model":"demo","stream":true,"messages":[{"role":"user","content":"the secret prompt"}]}`
	cacheChat   = `{"model":"canary","temperature":0,"messages":[{"role":"user","content":"the secret prompt"}]}`
	downChat    = `{"model":"down","messages":[{"role":"user","content":"the secret prompt"}]}`
	unknownChat = `{"model":"unknown","messages":[]}`
)

// present expects a field with any value.
type present struct{}

// The access log has the right fields for every way in which a request can end.
func TestObserveAccessLog(t *testing.T) {
	t.Parallel()
	o := newObserved(t, observe.TracingConfig{})
	common := map[string]any{
		"msg": "request", "http.request.method": "POST", "http.route": "/v1/chat/completions", "network.protocol.version": "1.1",
		"gen_ai.operation.name": "chat", "duration_ms": present{}, "time": present{}, "http.response.body.size": present{},
	}
	caller := map[string]any{"enduser.id": "alice", "tenant": "acme", "gateway.auth.method": "apikey"}
	demo := map[string]any{"gen_ai.request.model": "demo", "gateway.route.version": "v1.2"}
	responded := map[string]any{
		"level": "INFO", "http.response.status_code": 200.0, "outcome": "success", "gateway.tries": 1.0, "gateway.upstream": "v1.2", "gateway.endpoint": present{},
		"gateway.upstream.request.id": "upstream-id", "gen_ai.response.model": "demo-8b", "gen_ai.usage.input_tokens": 11.0, "gen_ai.usage.output_tokens": 22.0,
		"first_byte_ms": present{}, "error.type": nil, "error.message": nil, "gateway.hedge": nil, "gateway.fallback.from": nil,
	}
	streamed := map[string]any{"gateway.stream": true, "first_token_ms": present{}, "per_token_ms": present{}}
	tests := map[string]struct {
		before, body string
		header       []string
		want         []map[string]any
	}{
		"success": {"", jsonChat, nil, []map[string]any{caller, demo, responded, {"gateway.cache": "bypass", "http.request.body.size": float64(len(jsonChat)), "gateway.stream": nil}}},
		"stream":  {"", streamChat, nil, []map[string]any{caller, demo, responded, streamed}},
		"retry":   {"", jsonChat, []string{"X-Test", "503 first"}, []map[string]any{caller, demo, responded, {"gateway.tries": 2.0}}},
		"given up": {"", jsonChat, []string{"X-Test", "503"}, []map[string]any{caller, demo, {
			"level": "ERROR", "http.response.status_code": 503.0, "outcome": "failure", "gateway.tries": 3.0, "error.type": "503", "error.message": present{},
		}}},
		"cut": {"", streamChat, []string{"X-Test", "cut"}, []map[string]any{caller, demo, streamed, {
			"level": "ERROR", "http.response.status_code": 200.0, "outcome": "failure", "error.type": present{}, "error.message": present{},
			"gateway.tokens.estimated": true, "gen_ai.usage.output_tokens": present{},
		}}},
		"fallback": {"", downChat, nil, []map[string]any{caller, responded, {
			"gen_ai.request.model": "down", "gen_ai.response.model": "canary", "gateway.route.version": "v1.3", "gateway.upstream": "v1.3", "gateway.fallback.from": "dead",
		}}},
		"cache miss": {"", strings.Replace(cacheChat, "secret", "missing", 1), nil, []map[string]any{caller, {"gateway.cache": "miss", "gateway.route.version": "v1.3", "outcome": "success"}}},
		"cache hit": {cacheChat, cacheChat, nil, []map[string]any{caller, {
			"gateway.cache": "hit", "level": "INFO", "outcome": "success", "http.response.status_code": 200.0, "gen_ai.request.model": "canary",
			"gateway.tries": nil, "gateway.endpoint": nil, "gen_ai.usage.output_tokens": nil, "first_byte_ms": present{},
		}}},
		"no credential": {"", jsonChat, []string{"Authorization", ""}, []map[string]any{{
			"level": "WARN", "http.response.status_code": 401.0, "outcome": "refused", "error.type": present{}, "error.message": present{}, "enduser.id": nil, "gateway.tries": nil,
		}}},
		"no such model": {"", unknownChat, nil, []map[string]any{caller, {"level": "WARN", "http.response.status_code": 404.0, "outcome": "refused", "gateway.tries": nil}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id := strings.ReplaceAll(name, " ", "-")
			if tt.before != "" {
				o.sendAll(t, id+"-before", tt.before, "X-Bucket", id)
			}
			o.sendAll(t, id, tt.body, append(tt.header, "X-Bucket", id)...)
			line := o.log.request(t, id)
			want := maps.Clone(common)
			for _, more := range tt.want { // the last one wins
				maps.Copy(want, more)
			}
			checkLogLine(t, want, line)
			assertNoSecrets(t, o)
		})
	}
}

func checkLogLine(t *testing.T, want, line map[string]any) {
	t.Helper()
	for key, value := range want {
		switch value {
		case nil:
			assert.NotContains(t, line, key)
		case present{}:
			assert.NotEmpty(t, line[key], "%s in %v", key, line)
		default:
			assert.Equal(t, value, line[key], "%s in %v", key, line)
		}
	}
}

// assertNoSecrets checks that log and page contain no secret.
func assertNoSecrets(t *testing.T, o *observed) {
	t.Helper()
	for _, text := range []string{o.log.String(), o.page(t)} {
		for _, secret := range []string{o.key, "cookie-secret", "query-secret", "secret prompt", "the answer", "word 0"} {
			assert.NotContains(t, text, secret)
		}
	}
}

func (o *observed) page(t *testing.T) string {
	t.Helper()
	s := newServer(t, o.recent.Handler()).URL
	res, err := http.Get(s)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return string(text)
}

// The line of a refused request names the limit, but not the limit's key.
func TestObserveRefusedByLimit(t *testing.T) {
	t.Parallel()
	o := newObserved(t, observe.TracingConfig{})
	for range 20 {
		o.sendAll(t, "before", jsonChat, "X-Bucket", "b")
	}
	require.Equal(t, http.StatusTooManyRequests, o.sendAll(t, "refused", jsonChat, "X-Bucket", "b"))
	checkLogLine(t, map[string]any{
		"level": "WARN", "outcome": "refused", "http.response.status_code": 429.0, "gateway.limit": "rpm", "error.type": present{}, "gateway.tries": nil,
		"enduser.id": "alice", "gen_ai.request.model": "demo",
	}, o.log.request(t, "refused"))
}

// A hedge starts beside a slow first attempt and wins.
func TestObserveHedge(t *testing.T) {
	t.Parallel()
	o := newObserved(t, observe.TracingConfig{})
	body := strings.Replace(streamChat, `"demo"`, `"canary"`, 1)
	for i := range 30 { // until the hedge delay is known
		o.sendAll(t, fmt.Sprint("before-", i), body, "X-Bucket", strconv.Itoa(i))
	}
	require.Equal(t, http.StatusOK, o.sendAll(t, "hedged", body, "X-Test", "slow first"))
	endpoints := o.models["v1.3"].endpointsOf("hedged")
	require.Len(t, endpoints, 2)
	assert.NotEqual(t, endpoints[0], endpoints[1])
	checkLogLine(t, map[string]any{
		"level": "INFO", "outcome": "success", "http.response.status_code": 200.0, "gateway.stream": true, "gateway.route.version": "v1.3",
		"gateway.tries": 2.0, "gateway.hedge": true, "gateway.hedge.won": true, "gateway.endpoint": "http://" + endpoints[1],
		"gen_ai.usage.output_tokens": 22.0, "error.type": nil, "error.message": nil, "gateway.fallback.from": nil,
	}, o.log.request(t, "hedged"))
}

// A client disconnect in mid-stream is logged as canceled.
func TestObserveCanceled(t *testing.T) {
	t.Parallel()
	o := newObserved(t, observe.TracingConfig{})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	res := o.send(ctx, t, "left", streamChat, "X-Test", "hang")
	_, err := io.ReadFull(res.Body, make([]byte, 100))
	require.NoError(t, err)
	assert.Contains(t, o.page(t), "active (1)")
	cancel()
	_ = res.Body.Close()
	checkLogLine(t, map[string]any{
		"level": "INFO", "outcome": "canceled", "http.response.status_code": 200.0, "gateway.tries": 1.0, "gateway.stream": true,
		"gateway.tokens.estimated": true, "gen_ai.usage.output_tokens": present{}, "first_token_ms": present{}, "gateway.route.version": "v1.2",
	}, o.log.request(t, "left"))
	assert.Contains(t, o.page(t), "active (0)")
}

// The upstream receives the request id; the client receives it beside the upstream's own.
func TestObserveRequestID(t *testing.T) {
	t.Parallel()
	o := newObserved(t, observe.TracingConfig{})
	res := o.send(t.Context(), t, "mine", jsonChat)
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	assert.Equal(t, []string{"upstream-id"}, res.Header.Values("X-Request-ID"))
	assert.Equal(t, []string{"mine"}, res.Header.Values("X-Gateway-Request-Id"))
	_, ids := o.models["v1.2"].seen()
	assert.Equal(t, []string{"mine"}, ids)

	res = o.send(t.Context(), t, "forged id", jsonChat)
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	made := res.Header.Get("X-Gateway-Request-Id")
	assert.Len(t, made, 36)
	_, ids = o.models["v1.2"].seen()
	assert.Equal(t, []string{"mine", made}, ids)
}
