package queue_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/queue"
	"github.com/ginfer/ginfer/queue/embedded"
	"github.com/ginfer/ginfer/queue/jobs"
)

// A gateway that accepts jobs. Everything is in one process.
func ExampleNew() {
	dir, err := os.MkdirTemp("", "queue")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	store, err := embedded.New(embedded.Config{Dir: dir})
	if err != nil {
		panic(err)
	}
	chain := gin.New() // limits, cache, proxy
	chain.POST("/v1/chat/completions", func(c *gin.Context) { c.JSON(http.StatusOK, gin.H{"result": 42}) })
	q, err := queue.New(queue.Config{
		Connect: store.Connect,
		Owner:   func(c *gin.Context) (string, error) { return c.GetHeader("X-User"), nil },
		Handler: chain,
	})
	if err != nil {
		panic(err)
	}
	j, err := jobs.New(jobs.Config{Queue: q})
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- store.Run(ctx) }()
	go func() { ended <- q.Run(ctx) }()

	r := gin.New()
	j.Routes(r.Group("/v1"))
	send := func(method, path, body string) *httptest.ResponseRecorder {
		req := httptest.NewRequest(method, path, strings.NewReader(body))
		req.Header.Set("X-User", "ann")
		w := httptest.NewRecorder()
		r.ServeHTTP(w, req)
		return w
	}
	submit := func() *httptest.ResponseRecorder {
		return send(http.MethodPost, "/v1/jobs", `{"url":"/v1/chat/completions","body":{"model":"m"}}`)
	}
	accepted := submit()
	for ; accepted.Code == http.StatusServiceUnavailable; accepted = submit() { // not connected yet
	}
	result := send(http.MethodGet, accepted.Header().Get("Location")+"/result?wait=30s", "")
	fmt.Println(accepted.Code, result.Code, result.Body)

	cancel()
	fmt.Println(<-ended, <-ended)
	// Output:
	// 202 200 {"result":42}
	// <nil> <nil>
}

// A cluster of NATS servers, and processes that only accept work.
func ExampleURL() {
	_, err := queue.New(queue.Config{
		Connect:  queue.URL("nats://10.0.0.1:4222,nats://10.0.0.2:4222,nats://10.0.0.3:4222"),
		Replicas: 3,
		Workers:  -1,
		Owner:    func(c *gin.Context) (string, error) { return c.GetHeader("X-User"), nil },
		Handler:  http.NotFoundHandler(),
	})
	fmt.Println(err)
	// Output: <nil>
}
