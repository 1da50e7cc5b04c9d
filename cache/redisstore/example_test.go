package redisstore_test

import (
	"fmt"

	"github.com/ginfer/ginfer/cache"
	"github.com/ginfer/ginfer/cache/redisstore"
	"github.com/redis/go-redis/v9"
)

func ExampleNew() {
	client := redis.NewUniversalClient(redisstore.Options("127.0.0.1:6379"))
	defer client.Close()
	store, err := redisstore.New(redisstore.Config{Client: client})
	fmt.Println(err)

	// Nothing connects before the first request. If Redis is down then, each replica uses
	// its own memory.
	tiers, err := cache.NewTiered(cache.TieredConfig{L2: store})
	fmt.Println(err)
	_, err = cache.New(cache.Config{Store: tiers, Purges: store})
	fmt.Println(err)

	deaf := redis.NewClient(&redis.Options{Addr: "127.0.0.1:6379"})
	defer deaf.Close()
	_, err = redisstore.New(redisstore.Config{Client: deaf})
	fmt.Println(err)
	// Output:
	// <nil>
	// <nil>
	// <nil>
	// redisstore: Config.Client needs ContextTimeoutEnabled: true in its options, or a frozen server costs a request seconds; Options has the settings
}
