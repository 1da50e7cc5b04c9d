package ratelimit_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/ratelimit"
)

func ExampleNew() {
	limits, err := ratelimit.New(ratelimit.Config{Key: ratelimit.ByIP, Rate: 0.1, Burst: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	r := gin.New()
	r.GET("/", limits.Middleware(), func(c *gin.Context) { c.String(http.StatusOK, "hello") })
	for range 3 {
		w := httptest.NewRecorder()
		r.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		fmt.Printf("%d %s %q\n", w.Code, w.Header().Get("Ratelimit"), w.Header().Get("Retry-After"))
	}
	// Output:
	// 200 "requests";r=1;t=10 ""
	// 200 "requests";r=0;t=20 ""
	// 429 "requests";r=0;t=10 "10"
}

func ExampleNewTokens() {
	tokens, err := ratelimit.NewTokens(ratelimit.TokensConfig{Limits: []ratelimit.Limit{
		{Name: "tpm", Key: ratelimit.Global, Rate: ratelimit.Per(600, time.Minute), Burst: 100},
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	r := gin.New()
	r.POST("/", tokens.Middleware(), func(c *gin.Context) {
		c.Data(http.StatusOK, "application/json", []byte(`{"usage":{"prompt_tokens":50,"completion_tokens":130}}`))
	})
	for range 2 {
		w := httptest.NewRecorder()
		r.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(`{"model":"m","prompt":"hello"}`)))
		fmt.Printf("%d %q\n", w.Code, w.Header().Get("Retry-After"))
	}
	// Output:
	// 200 ""
	// 429 "18"
}

func ExampleNewAdaptive() {
	concurrency, err := ratelimit.NewAdaptive(ratelimit.AdaptiveConfig{Initial: 10, Min: 5, Max: 100})
	if err != nil {
		fmt.Println(err)
		return
	}
	r := gin.New()
	r.GET("/", concurrency.Middleware(), func(c *gin.Context) { c.String(http.StatusOK, "%d of %d", concurrency.Inflight(), concurrency.Limit()) })
	w := httptest.NewRecorder()
	r.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	fmt.Println(w.Body)
	// Output: 1 of 10
}

func ExampleNewShared() {
	store, err := ratelimit.NewMemory(ratelimit.MemoryConfig{}) // in place of one that replicas share, as redisstore
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = ratelimit.NewShared(ratelimit.SharedConfig{Store: store})
	fmt.Println(err)
	shared, err := ratelimit.NewShared(ratelimit.SharedConfig{Store: store, Replicas: 3})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = ratelimit.New(ratelimit.Config{Key: ratelimit.ByIP, Rate: 90, Store: shared})
	fmt.Println(err)
	// Output:
	// ratelimit: SharedConfig.Replicas is required: how many gateways use the store
	// <nil>
}

func ExampleNewMemory() {
	store, err := ratelimit.NewMemory(ratelimit.MemoryConfig{Keys: 1000}) // for several limiters together
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = ratelimit.New(ratelimit.Config{Key: ratelimit.ByIP, Rate: 10, Store: store})
	fmt.Println(err)
	// Output: <nil>
}
