package redisstore_test

import (
	"fmt"

	"github.com/ginfer/ginfer/ratelimit"
	"github.com/ginfer/ginfer/ratelimit/redisstore"
	"github.com/redis/go-redis/v9"
)

func ExampleNew() {
	client := redis.NewUniversalClient(redisstore.Options("127.0.0.1:6379"))
	defer client.Close()
	store, err := redisstore.New(redisstore.Config{Client: client})
	fmt.Println(err)

	// The client connects at the first request. If Redis is down then, each of three
	// replicas lets a third of the rate in.
	shared, err := ratelimit.NewShared(ratelimit.SharedConfig{Store: store, Replicas: 3})
	fmt.Println(err)
	_, err = ratelimit.New(ratelimit.Config{Key: ratelimit.ByIP, Rate: 90, Store: shared})
	fmt.Println(err)

	deaf := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "main", SentinelAddrs: []string{"127.0.0.1:26379"}})
	defer deaf.Close()
	_, err = redisstore.New(redisstore.Config{Client: deaf})
	fmt.Println(err)
	// Output:
	// <nil>
	// <nil>
	// <nil>
	// redisstore: Config.Client needs ContextTimeoutEnabled: true in its options, or a frozen server costs a request seconds; Options has the settings
}
