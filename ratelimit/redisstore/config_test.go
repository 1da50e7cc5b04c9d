package redisstore_test

import (
	"testing"
	"time"

	"github.com/ginfer/ginfer/ratelimit/redisstore"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func TestConfigFaults(t *testing.T) {
	good := open(t, redisstore.Options("127.0.0.1:1"))
	deaf := redisstore.Options("127.0.0.1:1")
	deaf.ContextTimeoutEnabled = false
	deafCluster := redisstore.Options("127.0.0.1:1", "127.0.0.1:2")
	deafCluster.ContextTimeoutEnabled = false
	ring := redis.NewRing(&redis.RingOptions{ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = ring.Close() })
	for want, cfg := range map[string]redisstore.Config{
		"Config.Client is required":          {},
		"needs ContextTimeoutEnabled: true":  {Client: open(t, deaf)},
		"needs ContextTimeoutEnabled":        {Client: open(t, deafCluster)},
		"a *redis.Ring won't do":             {Client: ring},
		"Config.Timeout is negative":         {Client: good, Timeout: -1},
		"Config.Expiry is negative":          {Client: good, Expiry: -1},
		"Config.Prefix must not have braces": {Client: good, Prefix: "a{b"},
	} {
		_, err := redisstore.New(cfg)
		require.ErrorContains(t, err, want)
	}
	_, err := redisstore.New(redisstore.Config{Timeout: -1, Prefix: "}"})
	for _, want := range []string{"Client", "Timeout", "Prefix"} {
		require.ErrorContains(t, err, want, "all faults at once")
	}
}

func TestClientsThatDo(t *testing.T) {
	one := redisstore.Options("127.0.0.1:1")
	simple := redis.NewClient(one.Simple())
	t.Cleanup(func() { _ = simple.Close() })
	sentinel := redisstore.Options("127.0.0.1:1")
	sentinel.MasterName = "main"
	for name, client := range map[string]redis.UniversalClient{
		"single":   open(t, one),
		"sentinel": open(t, sentinel),
		"cluster":  open(t, redisstore.Options("127.0.0.1:1", "127.0.0.1:2")),
		"wrapped":  struct{ *redis.Client }{simple},
	} {
		_, err := redisstore.New(redisstore.Config{Client: client})
		require.NoError(t, err, name)
	}
}

func TestOptions(t *testing.T) {
	o := redisstore.Options("a:1", "b:2")
	require.Equal(t, []string{"a:1", "b:2"}, o.Addrs)
	require.True(t, o.ContextTimeoutEnabled)
	require.Equal(t, -1, o.MaxRetries, "a script that is sent twice takes twice")
	require.Equal(t, 50*time.Millisecond, o.ReadTimeout)
}
