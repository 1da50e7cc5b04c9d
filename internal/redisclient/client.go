// Package redisclient has what the stores in Redis ask of their clients.
package redisclient

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// limit is how long a server that is frozen holds up a call.
const limit = 50 * time.Millisecond

// Options returns settings by which a server that is frozen costs a request 50 ms, and
// not the 5 s of the defaults, with buffers of so many bytes for each connection.
func Options(buffer int, addrs ...string) *redis.UniversalOptions {
	return &redis.UniversalOptions{
		Addrs: addrs, DialTimeout: limit, ReadTimeout: limit, WriteTimeout: limit, PoolTimeout: limit,
		ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1,
		ReadBufferSize: buffer, WriteBufferSize: buffer,
		// They are for Redis Enterprise, and start goroutines that outlive Close.
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

// Check checks what all stores have in their Config: a client that heeds deadlines, and
// of which it can be told, a prefix without braces, and a timeout. The error joins every
// fault. It reports whether the client is a cluster's.
func Check(client redis.UniversalClient, prefix string, timeout time.Duration) (cluster bool, err error) {
	cluster, err = checkClient(client)
	faults := []error{err}
	if strings.ContainsAny(prefix, "{}") {
		faults = append(faults, errors.New("redisstore: Config.Prefix must not have braces: on a cluster they say where a key is"))
	}
	if timeout < 0 {
		faults = append(faults, errors.New("redisstore: Config.Timeout is negative"))
	}
	return cluster, errors.Join(faults...)
}

func checkClient(client redis.UniversalClient) (cluster bool, err error) {
	var heeds bool
	switch c := client.(type) {
	case nil:
		return false, errors.New("redisstore: Config.Client is required")
	case interface{ Options() *redis.Options }:
		heeds = c.Options().ContextTimeoutEnabled
	case interface{ Options() *redis.ClusterOptions }:
		cluster, heeds = true, c.Options().ContextTimeoutEnabled
	default:
		return false, fmt.Errorf("redisstore: Config.Client: a %T won't do; it must be a *redis.Client or a *redis.ClusterClient", client)
	}
	if !heeds {
		return false, errors.New("redisstore: Config.Client needs ContextTimeoutEnabled: true in its options, or a frozen server costs a request seconds; Options has the settings")
	}
	return cluster, nil
}
