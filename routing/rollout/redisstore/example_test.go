package redisstore_test

import (
	"fmt"

	"github.com/ginfer/ginfer/routing/rollout"
	"github.com/ginfer/ginfer/routing/rollout/redisstore"
	"github.com/redis/go-redis/v9"
)

func ExampleNew() {
	client := redis.NewUniversalClient(redisstore.Options("127.0.0.1:6379"))
	defer client.Close()
	store, err := redisstore.New(redisstore.Config{Client: client})
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := rollout.New(rollout.Config{Model: "chat", Stable: "v1", Canary: "v2", Store: store, Replicas: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	// Until Restore, or Run, has read the store, the canary gets no requests.
	s := r.Status()
	fmt.Println(s.State, s.Share, s.Steps)
	// Output: running 0 [0.01 0.05 0.2 1]
}
