package e2e_test

import (
	"context"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/balance"
	"github.com/ginfer/ginfer/proxy"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/ginfer/ginfer/stream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The tokens of a hedge's loser are counted and charged with those of the winner.
func TestHedgeLosersAreCounted(t *testing.T) {
	const text = "data: {\"choices\":[{\"delta\":{\"content\":\"hello\"}}]}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":1}}\n\ndata: [DONE]\n\n"
	var slow, never atomic.Bool
	one, two := stallingUpstream(t, &slow, roleEvent, text), stallingUpstream(t, &never, "", text)
	transport := newTransport(t, proxy.TransportConfig{})
	pool := newPool(t, balance.Config{Endpoints: []balance.Endpoint{{URL: one.URL}, {URL: two.URL}}, Policy: balance.RoundRobin(), Transport: transport})

	var mu sync.Mutex
	var used []stream.Usage
	var settled []int64
	meter, err := stream.NewMeter(stream.MeterConfig{Report: ratelimit.Report, OnUsage: func(_ context.Context, u stream.Usage) {
		mu.Lock()
		defer mu.Unlock()
		used = append(used, u)
	}})
	require.NoError(t, err)
	tokens, err := ratelimit.NewTokens(ratelimit.TokensConfig{
		Key: ratelimit.Global, Rate: 1e6, Burst: 1e6,
		OnEvent: func(_ context.Context, e ratelimit.Event) {
			mu.Lock()
			defer mu.Unlock()
			if e.Kind == ratelimit.Settled {
				settled = append(settled, e.Tokens)
			}
		},
	})
	require.NoError(t, err)
	p, err := proxy.New(proxy.Config{
		Transport: meter.Transport(pool), Retry: proxy.Retry{Repeat: proxy.Always}, Hedge: &proxy.Hedge{Ratio: 0.5},
	})
	require.NoError(t, err)
	gin.SetMode(gin.TestMode)
	r := gin.New()
	r.POST("/*path", tokens.Middleware(), p.Handler())
	gateway := newServer(t, r)
	ask := func() {
		res, err := gateway.Client().Post(gateway.URL+"/v1/chat/completions", "application/json", strings.NewReader(`{"model":"m","stream":true,"messages":[{"role":"user","content":"0123456789012345678901234567"}]}`))
		require.NoError(t, err)
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, helloEvents, string(body), "without the usage, which was not requested")
	}
	sent := 0
	attempts := func() int { // all that were made: a request is settled when its attempts have ended
		require.Eventually(t, func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(settled) == sent
		}, 10*time.Second, time.Millisecond)
		mu.Lock()
		defer mu.Unlock()
		return len(used)
	}
	for ; sent < 40; sent++ {
		ask()
	}
	slow.Store(true)
	for two := false; !two; { // until one request has two attempts
		before := attempts()
		ask()
		sent++
		two = attempts() > before+1
	}
	gateway.Close()
	mu.Lock()
	defer mu.Unlock()
	require.Len(t, settled, sent)
	winner, loser := used[len(used)-2], used[len(used)-1]
	if winner.Outcome == stream.Canceled {
		winner, loser = loser, winner
	}
	assert.True(t, winner.Hedge)
	assert.EqualValues(t, 7, winner.Input)
	assert.False(t, loser.Hedge)
	assert.Positive(t, loser.Input, "the model has read it")
	assert.True(t, loser.Estimated)
	assert.Equal(t, winner.Input+winner.Output+loser.Input+loser.Output, settled[len(settled)-1])
}
