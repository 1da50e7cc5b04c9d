package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The turns of a chat reach the same server through two independent gateways, although they
// rename the model and request usage.
func TestConversationsStay(t *testing.T) {
	servers := make([]*model, 4)
	var list []string
	for i := range servers {
		servers[i] = newModel(t, helloEvents)
		list = append(list, fmt.Sprintf(`{"url": %q}`, servers[i].URL))
	}
	config := fmt.Sprintf(`{%s, "upstreams": {"a": {"policy": "conversations", "endpoints": [%s]}},
		"groups": [{"path": "/v1", "stages": ["routing", "stream"], "routing": {"table": {"routes": [{"model": "m", "version": "v1", "upstream": "a", "upstream_model": "m-1"}]}}}]}`,
		ports, strings.Join(list, ", "))
	gateways := []*process{start(t, config), start(t, config)}
	client := newClient(t, 2)
	homes := map[int]bool{}
	for chat := range 12 {
		messages := fmt.Sprintf(`{"role":"system","content":"be brief"},{"role":"user","content":"question %d"}`, chat)
		home := -1
		for turn := range 4 {
			res, err := gateways[turn%2].chat(client, "u", `{"model":"m","stream":true,"messages":[`+messages+`]}`)
			require.NoError(t, err)
			_, err = io.Copy(io.Discard, res.Body)
			require.NoError(t, err)
			require.NoError(t, res.Body.Close())
			server := -1
			for i, s := range servers {
				if s.calls.Swap(0) > 0 {
					server = i
				}
			}
			if turn == 0 {
				home = server
			}
			require.Equal(t, home, server, "turn %d of chat %d", turn, chat)
			messages += `,{"role":"assistant","content":"hello"},{"role":"user","content":"go on"}`
		}
		homes[home] = true
	}
	assert.Greater(t, len(homes), 1)
}

// tickingUpstream is a server that streams ten tokens, one per interval.
func tickingUpstream(t *testing.T, every time.Duration) *httptest.Server {
	t.Helper()
	s := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		tick := time.NewTicker(every)
		defer tick.Stop()
		for range 10 {
			select {
			case <-tick.C:
			case <-r.Context().Done():
				return
			}
			_, _ = io.WriteString(w, "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n")
			w.(http.Flusher).Flush()
		}
		_, _ = io.WriteString(w, "data: [DONE]\n\n")
	}))
	return s
}

// Streams go to the server with the higher token rate, and the private port reports it.
func TestCadencePrefersTheFast(t *testing.T) {
	fast, slow := tickingUpstream(t, 20*time.Millisecond), tickingUpstream(t, 200*time.Millisecond)
	p := start(t, fmt.Sprintf(`{%s, "upstreams": {"a": {"policy": "cadence", "endpoints": [{"url": %q}, {"url": %q}]}},
		"groups": [{"path": "/v1", "upstream": "a", "stages": ["stream"]}]}`, ports, fast.URL, slow.URL))
	client := newClient(t, 8)
	var users sync.WaitGroup
	for range 8 {
		users.Go(func() {
			for range 6 {
				res, err := p.chat(client, "u", `{"model":"m","stream":true,"messages":[]}`)
				if err != nil {
					t.Error(err)
					return
				}
				_, err = io.Copy(io.Discard, res.Body)
				assert.NoError(t, errors.Join(err, res.Body.Close()))
			}
		})
	}
	users.Wait()
	var upstreams map[string][]struct {
		URL      string  `json:"url"`
		Requests int     `json:"requests"`
		Slowness float64 `json:"slowness"`
	}
	code, text := p.admin(http.MethodGet, "/admin/upstreams", "")
	require.Equal(t, http.StatusOK, code, text)
	require.NoError(t, json.Unmarshal([]byte(text), &upstreams), text)
	got := map[string]int{}
	for _, e := range upstreams["a"] {
		got[e.URL] = e.Requests
		assert.NotZero(t, e.Slowness)
	}
	assert.Greater(t, got[fast.URL], 2*got[slow.URL], "%v", got)
}

// With the hash policy by subject a caller always reaches the same server.
func TestHashBySubject(t *testing.T) {
	servers := []*model{newModel(t, helloEvents), newModel(t, helloEvents), newModel(t, helloEvents)}
	file := filepath.Join(t.TempDir(), "keys.json")
	var keys []string
	for i := range 12 {
		keys = append(keys, newKey(t, "-file", file, "-subject", fmt.Sprintf("user-%d", i)))
	}
	p := start(t, fmt.Sprintf(`{%s, "auth": {"keys": %q}, "upstreams": {"a": {"policy": "hash", "hash": {"subject": true}, "endpoints": [{"url": %q}, {"url": %q}, {"url": %q}]}},
		"groups": [{"path": "/v1", "upstream": "a"}]}`, ports, file, servers[0].URL, servers[1].URL, servers[2].URL))
	client := newClient(t, 1)
	homes := map[int]bool{}
	for _, key := range keys {
		for range 3 {
			require.Equal(t, http.StatusOK, p.sendChat(client, smallChat, "X-Api-Key", key).StatusCode)
		}
		home := slices.IndexFunc(servers, func(s *model) bool { return s.calls.Swap(0) == 3 })
		require.GreaterOrEqual(t, home, 0)
		homes[home] = true
	}
	assert.Greater(t, len(homes), 1)
}
