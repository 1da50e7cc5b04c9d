package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// model is an upstream that streams fixed events and records the latest body.
type model struct {
	*httptest.Server
	calls    atomic.Int64
	lastBody atomic.Value // the latest body
}

func newModel(t *testing.T, events ...string) *model {
	t.Helper()
	m := new(model)
	m.Server = newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		m.lastBody.Store(string(body))
		m.calls.Add(1)
		w.Header().Set("Content-Type", "text/event-stream")
		for _, e := range events {
			if e == "" { // a stall
				w.(http.Flusher).Flush()
				<-r.Context().Done()
				return
			}
			_, _ = io.WriteString(w, e)
		}
	}))
	return m
}

const (
	helloEvents = "data: {\"choices\":[{\"delta\":{\"content\":\"hello\"}}]}\n\ndata: [DONE]\n\n"
	roleEvent   = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n"
	errorEvent  = "data: {\"error\":{\"message\":\"CUDA error\",\"code\":500}}\n\n"
)

// A stream that fails between its status line and its first token is replaced: by another
// endpoint, and then by another model, which the response names.
func TestStreamsFailOverToAnotherModel(t *testing.T) {
	broken, stalled, good, blind := newModel(t, roleEvent, errorEvent), newModel(t, roleEvent, ""), newModel(t, helloEvents), newModel(t, helloEvents)
	p := start(t, fmt.Sprintf(`{%s, "upstreams": {"a": {"endpoints": [{"url": %q}, {"url": %q}]}, "blind": {"endpoints": [{"url": %q}]}, "b": {"endpoints": [{"url": %q}]}},
		"groups": [{"path": "/v1", "stages": ["routing", "stream"], "proxy": {"retry_posts": true, "first_byte": "300ms"}, "routing": {"table": {"routes": [
			{"model": "large", "version": "v1", "upstream": "a", "fallback": ["mini", "medium"]},
			{"model": "small", "version": "mini", "upstream": "blind", "capabilities": {}},
			{"model": "other", "version": "medium", "upstream": "b", "upstream_model": "other-large", "capabilities": {"tools": true}}]}}}]}`,
		ports, broken.URL, stalled.URL, blind.URL, good.URL))
	client := newClient(t, 1)
	res, err := p.chat(client, "u", `{"model":"large","stream":true,"tools":[{"type":"function","function":{"name":"f"}}]}`)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, res.StatusCode)
	assert.Equal(t, helloEvents, string(body))
	assert.Equal(t, "medium", res.Header.Get("X-Model-Version"))
	assert.Equal(t, "other-large", res.Header.Get("X-Model"))
	assert.Equal(t, "v1", res.Header.Get("X-Fallback-From"))
	assert.Contains(t, good.lastBody.Load(), `"model":"other-large"`)
	assert.EqualValues(t, 1, broken.calls.Load())
	assert.EqualValues(t, 1, stalled.calls.Load())
	assert.Zero(t, blind.calls.Load(), "it can't call tools")
	p.awaitIdle()
}

// stallingUpstream streams text. While stalls is set it sends only before, and then nothing
// until the client disconnects.
func stallingUpstream(t *testing.T, stalls *atomic.Bool, before, text string) *httptest.Server {
	t.Helper()
	return newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		if stalls.Load() {
			_, _ = io.WriteString(w, before)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return
		}
		_, _ = io.WriteString(w, text)
	}))
}

// A hedge overtakes a late first token.
func TestHedge(t *testing.T) {
	var slow, never atomic.Bool
	one := stallingUpstream(t, &slow, "", strings.ReplaceAll(helloEvents, "hello", "true"))
	two := stallingUpstream(t, &never, "", strings.ReplaceAll(helloEvents, "hello", "false"))
	p := start(t, fmt.Sprintf(`{%s, "upstreams": {"a": {"endpoints": [{"url": %q}, {"url": %q}], "policy": "round_robin", "breaker": {"per_version": true}}},
		"groups": [{"path": "/v1", "upstream": "a", "stages": ["stream"], "proxy": {"retry_posts": true, "hedge": {"ratio": 0.5}}}]}`, ports, one.URL, two.URL))
	client := newClient(t, 1)
	ask := func() string {
		res, err := p.chat(client, "u", `{"model":"m","stream":true}`)
		require.NoError(t, err)
		defer func() { _ = res.Body.Close() }()
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		return string(body)
	}
	for range 40 {
		ask()
	}
	slow.Store(true)
	for range 4 {
		assert.Contains(t, ask(), "false", "the second attempt responds")
	}
	p.awaitIdle()
}
