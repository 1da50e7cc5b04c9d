package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ginfer/ginfer/internal/testkit/redistest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	cacheableChat = `{"model":"m","stream":true,"temperature":0,"messages":[{"role":"user","content":"hi"}]}`
	fullStream    = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"hello\"},\"finish_reason\":null}]}\n\n" +
		"data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"
	cachedStages = `"stages": ["limits", "cache", "stream"], "cache": {}, "limits": ["tokens"]`
)

// A request is sent upstream once, hits cost no tokens, and after a purge through the private
// port it is sent again.
func TestCache(t *testing.T) {
	m := newModel(t, fullStream)
	p := start(t, fmt.Sprintf(`{%s, "limits": {"tokens": {"unit": "tokens", "by": "everybody", "rate": "600/m", "burst": 1000}},
		"upstreams": {"a": {"endpoints": [{"url": %q}]}}, "groups": [{"path": "/v1", "upstream": "a", %s}]}`, ports, m.URL, cachedStages))
	client := newClient(t, 8)
	first, text := p.sendText(client, cacheableChat)
	assert.Equal(t, fullStream, text)
	assert.Contains(t, first.Header.Get("Cache-Status"), "fwd=")
	for range 50 {
		again, same := p.sendText(client, cacheableChat)
		require.Equal(t, http.StatusOK, again.StatusCode, "hits cost no tokens")
		require.Equal(t, fullStream, same)
		require.Contains(t, again.Header.Get("Cache-Status"), "hit")
	}
	assert.EqualValues(t, 1, m.calls.Load())
	_, json := p.sendText(client, strings.Replace(cacheableChat, `"stream":true,`, "", 1))
	assert.Contains(t, json, `"content":"hello"`, "as JSON too")
	assert.EqualValues(t, 1, m.calls.Load())

	other, _ := p.sendText(client, cacheableChat, "Authorization", "Bearer another-caller")
	assert.NotContains(t, other.Header.Get("Cache-Status"), "hit", "callers do not share entries")
	warm, _ := p.sendText(client, strings.Replace(cacheableChat, `"temperature":0`, `"temperature":1`, 1))
	assert.NotContains(t, warm.Header.Get("Cache-Status"), "hit")
	before := m.calls.Load()
	code, _ := p.admin(http.MethodPost, "/admin/cache/purge?model=m", "")
	require.Equal(t, http.StatusOK, code)
	p.sendText(client, cacheableChat)
	assert.Equal(t, before+1, m.calls.Load())
	code, _ = p.admin(http.MethodPost, "/admin/cache/purge", "")
	assert.Equal(t, http.StatusBadRequest, code)
}

// A thousand equal concurrent requests are one to the upstream.
func TestCacheMergesAThousand(t *testing.T) {
	begun, gate := new(atomic.Int64), make(chan struct{})
	head, rest, _ := strings.Cut(fullStream, "\n\n")
	head += "\n\n"
	s := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, head)
		w.(http.Flusher).Flush()
		begun.Add(1)
		<-gate
		_, _ = io.WriteString(w, rest)
	}))
	p := start(t, fmt.Sprintf(`{%s, "upstreams": {"a": {"endpoints": [{"url": %q}]}}, "groups": [{"path": "/v1", "upstream": "a", "stages": ["cache", "stream"], "cache": {}}]}`, ports, s.URL))
	client := newClient(t, 1000)
	var wg sync.WaitGroup
	var mu sync.Mutex
	texts := map[string]int{}
	for range 1000 {
		wg.Go(func() {
			_, text := p.sendText(client, cacheableChat)
			mu.Lock()
			defer mu.Unlock()
			texts[text]++
		})
	}
	require.Eventually(t, func() bool { return begun.Load() == 1 && p.goroutines() > 1000 }, patience, 10*time.Millisecond)
	close(gate)
	wg.Wait()
	assert.EqualValues(t, 1, begun.Load())
	assert.Equal(t, map[string]int{fullStream: 1000}, texts)
}

// Replicas share entries; a purge reaches both; without Redis each serves its own copies.
func TestCacheOfTwoReplicas(t *testing.T) {
	m, server := newModel(t, fullStream), redistest.Start(t)
	config := fmt.Sprintf(`{%s, "redis": {"addresses": [%q], "replicas": 2}, "upstreams": {"a": {"endpoints": [{"url": %q}]}},
		"groups": [{"path": "/v1", "upstream": "a", "stages": ["cache"], "cache": {"ttl": "10m"}}]}`, ports, server.Addr, m.URL)
	one, two := start(t, config), start(t, config)
	client := newClient(t, 1)
	hit := func(p *process) bool {
		a, text := p.sendText(client, cacheableChat)
		require.Equal(t, http.StatusOK, a.StatusCode)
		require.Equal(t, fullStream, text)
		return strings.Contains(a.Header.Get("Cache-Status"), "hit")
	}
	require.False(t, hit(one))
	require.Eventually(t, func() bool { return hit(two) }, patience, 10*time.Millisecond, "filled here, hit there")
	before := m.calls.Load()
	code, _ := one.admin(http.MethodPost, "/admin/cache/purge?model=m", "")
	require.Equal(t, http.StatusOK, code)
	require.Eventually(t, func() bool { hit(two); return m.calls.Load() > before }, patience, 10*time.Millisecond, "purged everywhere")
	require.Eventually(t, func() bool { return hit(one) && hit(two) }, patience, 10*time.Millisecond)
	server.Kill()
	for range 20 {
		require.True(t, hit(one), "from L1")
		require.True(t, hit(two))
	}
}

// A request with the same Idempotency-Key at another gateway is not sent upstream while the
// first is in flight. On a machine where Redis exceeds its timeout it may be sent (package
// cache tests that in virtual time), but not every time.
func TestIdempotencyKeyAtTwoGateways(t *testing.T) {
	var calls atomic.Int64
	release := make(chan chan struct{}, 1)
	upstream := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		gate := <-release
		release <- gate
		<-gate
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, fullStream)
	}))
	server := redistest.Start(t)
	config := fmt.Sprintf(`{%s, "redis": {"addresses": [%q], "replicas": 2, "timeout": "1s"}, "upstreams": {"a": {"endpoints": [{"url": %q}]}},
		"groups": [{"path": "/v1", "upstream": "a", "stages": ["cache", "stream"], "cache": {"idempotency": "1h"}}]}`, ports, server.Addr, upstream.URL)
	gateways := []*process{start(t, config), start(t, config)}
	client := newClient(t, 4)
	body := strings.Replace(cacheableChat, `"temperature":0`, `"temperature":1`, 1) // no other policy stores it
	for round := range 5 {
		calls.Store(0)
		gate := make(chan struct{})
		release <- gate
		var clients sync.WaitGroup
		for i := range 4 {
			clients.Go(func() {
				_, text := gateways[i%2].sendText(client, body, "Idempotency-Key", fmt.Sprint("order-", round), "Host", "gateway.test")
				assert.Equal(t, fullStream, text)
			})
		}
		before := scripts(server)
		require.Eventually(t, func() bool { return calls.Load() > 1 || scripts(server) > before+3 }, patience, 20*time.Millisecond, "those without the key poll for it")
		close(gate)
		clients.Wait()
		<-release
		if calls.Load() == 1 {
			return
		}
	}
	t.Errorf("sent twice each time")
}

// A hundred equal concurrent requests over two gateways are one to the upstream, if they wait
// for each other. On a machine where Redis exceeds its timeout it may be sent twice, but not
// every time.
func TestCacheMergesAHundredOverTwoGateways(t *testing.T) {
	var calls atomic.Int64
	upstream := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		select { // long enough for all to arrive
		case <-time.After(2 * time.Second):
		case <-r.Context().Done():
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, fullStream)
	}))
	server := redistest.Start(t)
	config := fmt.Sprintf(`{%s, "redis": {"addresses": [%q], "replicas": 2, "timeout": "1s"}, "upstreams": {"a": {"endpoints": [{"url": %q}]}},
		"groups": [{"path": "/v1", "upstream": "a", "stages": ["cache", "stream"], "cache": {"replica_wait": "30s"}}]}`, ports, server.Addr, upstream.URL)
	gateways := []*process{start(t, config), start(t, config)}
	client := newClient(t, 100)
	for round := range 5 {
		calls.Store(0)
		body := strings.Replace(cacheableChat, "hi", fmt.Sprint("hi ", round), 1)
		each(100, 100, func(i int) {
			_, text := gateways[i%2].sendText(client, body)
			assert.Equal(t, fullStream, text)
		})
		if calls.Load() == 1 {
			return
		}
	}
	t.Errorf("sent twice each time")
}
