package e2e_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/cache"
	"github.com/ginfer/ginfer/proxy"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Hits and coalesced requests are charged no tokens, without any wiring: only the request that
// the upstream, or the application's own handler, served is.
func TestCachedResponsesCostNoTokens(t *testing.T) {
	t.Parallel()
	const usage = `"usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}`
	const json = `{"choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],` + usage + `}`
	const stream = `data: {"choices":[{"index":0,"delta":{"content":"hi"}}]}` + "\n\n" + `data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\n" +
		`data: {"choices":[],` + usage + `}` + "\n\ndata: [DONE]\n\n"
	for name, tt := range map[string]struct {
		own        bool // a handler without a proxy
		fields     string
		kind, text string
	}{
		"JSON of an upstream":     {false, "", "application/json", json},
		"a stream of an upstream": {false, `,"stream":true,"stream_options":{"include_usage":true}`, "text/event-stream", stream},
		"JSON of a handler":       {true, "", "application/json", json},
		"a stream of a handler":   {true, `,"stream":true,"stream_options":{"include_usage":true}`, "text/event-stream", stream},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			costs := cachedCosts(t, tt.own, tt.fields, tt.kind, tt.text)
			assert.ElementsMatch(t, []int64{12, 0, 0, 0, 0, 0}, costs)
		})
	}
}

func cachedCosts(t *testing.T, own bool, fields, kind, text string) []int64 {
	t.Helper()
	const concurrent = 5
	release := make(chan struct{})
	model := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-release
		w.Header().Set("Content-Type", kind)
		_, _ = io.WriteString(w, text)
	})
	upstream := newServer(t, model)
	var mu sync.Mutex
	var costs []int64
	tokens, err := ratelimit.NewTokens(ratelimit.TokensConfig{Key: ratelimit.Global, Rate: 1, Burst: 1e6, OnEvent: func(_ context.Context, e ratelimit.Event) {
		mu.Lock()
		defer mu.Unlock()
		if e.Kind == ratelimit.Settled {
			costs = append(costs, e.Tokens)
		}
	}})
	require.NoError(t, err)
	joined := make(chan struct{}, concurrent)
	responses, err := cache.New(cache.Config{Shared: true, OnEvent: func(_ context.Context, e cache.Event) {
		if e.Kind == cache.Missed || e.Kind == cache.Coalesced || e.Kind == cache.Hit {
			joined <- struct{}{}
		}
	}})
	require.NoError(t, err)
	relay, err := proxy.New(proxy.Config{Transport: toHost{upstream.Listener.Addr().String()}})
	require.NoError(t, err)
	engine := gin.New()
	last := relay.Handler()
	if own {
		last = gin.WrapH(model)
	}
	engine.POST("/v1/chat/completions", tokens.Middleware(), responses.Middleware(), last)
	call := func() {
		req := httptest.NewRequest(http.MethodPost, "/v1/chat/completions", strings.NewReader(`{"model":"m","temperature":0,"messages":[]`+fields+`}`))
		req.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		engine.ServeHTTP(w, req)
		assert.Equal(t, http.StatusOK, w.Code)
		assert.Contains(t, w.Body.String(), "hi")
	}
	var wg sync.WaitGroup
	for range concurrent {
		wg.Go(call)
	}
	<-joined // the leader; the others follow it, or find its response
	close(release)
	wg.Wait()
	call()
	return costs
}

// So do those that waited for the response of another replica.
func TestResponsesOfAnotherReplicaCostNoTokens(t *testing.T) {
	t.Parallel()
	const text = `{"choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}}`
	var mu sync.Mutex
	var costs []int64
	tokens, err := ratelimit.NewTokens(ratelimit.TokensConfig{Key: ratelimit.Global, Rate: 1, Burst: 1e6, OnEvent: func(_ context.Context, e ratelimit.Event) {
		mu.Lock()
		defer mu.Unlock()
		if e.Kind == ratelimit.Settled {
			costs = append(costs, e.Tokens)
		}
	}})
	require.NoError(t, err)
	begun, release := make(chan struct{}, 2), make(chan struct{})
	model := func(c *gin.Context) {
		begun <- struct{}{}
		<-release
		c.Data(http.StatusOK, "application/json", []byte(text))
	}
	shared := &claims{owners: map[string]string{}, asked: make(chan struct{}, 100)}
	shared.Memory, err = cache.NewMemory(cache.MemoryConfig{})
	require.NoError(t, err)
	call := func() {
		responses, err := cache.New(cache.Config{Shared: true, Store: shared, LLM: cache.LLM{ReplicaWait: patience}})
		require.NoError(t, err)
		engine := gin.New()
		engine.POST("/v1/chat/completions", tokens.Middleware(), responses.Middleware(), model)
		req := httptest.NewRequest(http.MethodPost, "/v1/chat/completions", strings.NewReader(`{"model":"m","temperature":0,"messages":[]}`))
		req.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		engine.ServeHTTP(w, req)
		assert.JSONEq(t, text, w.Body.String())
	}
	var wg sync.WaitGroup
	wg.Go(call)
	<-begun
	<-shared.asked
	wg.Go(call)
	<-shared.asked // and was refused
	close(release)
	wg.Wait()
	assert.ElementsMatch(t, []int64{12, 0}, costs)
	assert.Empty(t, begun)
}

// claims is a store that replicas share.
type claims struct {
	*cache.Memory
	mu     sync.Mutex
	owners map[string]string
	asked  chan struct{}
}

func (s *claims) Claim(_ context.Context, key, owner string, _ time.Duration) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case s.asked <- struct{}{}:
	default:
	}
	if s.owners[key] == "" {
		s.owners[key] = owner
	}
	return s.owners[key] == owner, nil
}

func (s *claims) Release(_ context.Context, key, owner string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.owners[key] == owner {
		delete(s.owners, key)
	}
	return nil
}
