package batch_test

import (
	"fmt"
	"net/http"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/queue"
	"github.com/ginfer/ginfer/queue/batch"
)

// The routes of an OpenAI-compatible batch API, for batches of up to 1,000 requests.
func ExampleNew() {
	q, err := queue.New(queue.Config{
		Connect: queue.URL("nats://10.0.0.1:4222"),
		Owner:   func(c *gin.Context) (string, error) { return c.GetHeader("X-User"), nil },
		Handler: http.NotFoundHandler(), // limits, cache, proxy
	})
	if err != nil {
		panic(err)
	}
	batches, err := batch.New(batch.Config{Queue: q, FileLines: 1000})
	if err != nil {
		panic(err)
	}
	gin.SetMode(gin.TestMode)
	r := gin.New()
	batches.Routes(r.Group("/v1"))
	for _, route := range r.Routes() {
		if route.Method == http.MethodPost {
			fmt.Println(route.Path)
		}
	}
	// Unordered output:
	// /v1/files
	// /v1/batches
	// /v1/batches/:id/cancel
}
