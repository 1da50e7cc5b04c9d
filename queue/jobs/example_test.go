package jobs_test

import (
	"fmt"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/queue"
	"github.com/ginfer/ginfer/queue/jobs"
)

// Jobs with webhooks, which may call hosts below example.com.
func ExampleNew() {
	q, err := queue.New(queue.Config{
		Connect: queue.URL("nats://10.0.0.1:4222"),
		Owner:   func(c *gin.Context) (string, error) { return c.GetHeader("X-User"), nil },
		Handler: http.NotFoundHandler(), // limits, cache, proxy
	})
	if err != nil {
		panic(err)
	}
	_, err = jobs.New(jobs.Config{Queue: q, Webhooks: &jobs.Webhooks{
		Secrets: []string{"not a secret of Standard Webhooks"}, Hosts: []string{".example.com"}, Timeout: 5 * time.Second,
	}})
	fmt.Println(err)
	// Output: jobs: Webhooks.Secrets[0]: a webhook secret is whsec_ and 24 to 64 bytes in base64
}
