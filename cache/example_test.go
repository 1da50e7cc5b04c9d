package cache_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/cache"
)

func ExampleNew() {
	responses, err := cache.New(cache.Config{
		Scope: func(c *gin.Context) (string, error) { return "acme", nil }, // auth.Tenant
		LLM:   cache.LLM{TTL: 30 * time.Second},
		OnEvent: func(_ context.Context, e cache.Event) {
			if e.Kind == cache.Hit || e.Kind == cache.Coalesced {
				fmt.Println("costs no tokens")
			}
		},
	})
	if err != nil {
		panic(err)
	}
	r := gin.New()
	r.POST("/v1/chat/completions", responses.Middleware(), func(c *gin.Context) {
		fmt.Println("the model thinks")
		c.JSON(http.StatusOK, gin.H{"choices": []gin.H{{"message": gin.H{"role": "assistant", "content": "Paris."}, "finish_reason": "stop"}}})
	})
	send := func(body string) {
		w := post(r, body)
		mark, _, _ := strings.Cut(status(w), "; ttl")
		fmt.Println(mark)
	}
	send(`{"model": "m", "temperature": 0, "messages": [{"role": "user", "content": "What is the capital of France?"}]}`)
	send(`{"temperature": 0.0, "messages": [{"content": "What is the capital of France?", "role": "user"}], "model": "m"}`)
	_ = responses.Purge(context.Background(), cache.ByModel("m"))
	send(`{"model": "m", "temperature": 0, "messages": [{"role": "user", "content": "What is the capital of France?"}]}`)
	// Output:
	// the model thinks
	// ginfer; fwd=miss
	// costs no tokens
	// ginfer; hit
	// the model thinks
	// ginfer; fwd=miss
}

func ExampleMiddleware() {
	r := gin.New()
	r.GET("/v1/models", cache.Middleware(cache.Config{}), func(c *gin.Context) {
		c.Header("Cache-Control", "max-age=60")
		c.String(http.StatusOK, "gpt-4o")
	})
	fmt.Println(status(get(r, "/v1/models")))
	fmt.Println(status(get(r, "/v1/models", "Cache-Control", "no-cache")))
	// Output:
	// ginfer; fwd=uri-miss; ttl=59; stored
	// ginfer; fwd=stale; ttl=59; stored
}

func ExampleNewMemory() {
	memory, err := cache.NewMemory(cache.MemoryConfig{Entries: 10_000, Bytes: 64 << 20})
	if err != nil {
		panic(err)
	}
	_, err = cache.New(cache.Config{Store: memory})
	fmt.Println(memory.Len(), err)
	_, err = cache.NewMemory(cache.MemoryConfig{Entries: -1})
	fmt.Println(err)
	// Output:
	// 0 <nil>
	// cache: MemoryConfig.Entries is negative
}

func ExampleNewTiered() {
	far, err := cache.NewMemory(cache.MemoryConfig{}) // a redisstore.Store, in fact
	if err != nil {
		panic(err)
	}
	tiers, err := cache.NewTiered(cache.TieredConfig{L2: far})
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	_ = tiers.Set(ctx, "k", &cache.Entry{Status: http.StatusOK, Body: []byte("hello"), ExpiresAt: time.Now().Add(time.Minute)})
	_ = tiers.Drain(ctx)
	e, err := far.Get(ctx, "k")
	fmt.Println(string(e.Body), err)
	// Output: hello <nil>
}
