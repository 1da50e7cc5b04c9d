// Package redisclient has the client options and checks that the stores in Redis share.
package redisclient

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ginfer/ginfer/internal/fault"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// limit bounds a call to a frozen server.
const limit = 50 * time.Millisecond

// Options returns client options with which a frozen server costs a request 50 ms instead
// of the default 5 s. Each connection has buffers of the given size, in bytes.
func Options(buffer int, addrs ...string) *redis.UniversalOptions {
	return &redis.UniversalOptions{
		Addrs: addrs, DialTimeout: limit, ReadTimeout: limit, WriteTimeout: limit, PoolTimeout: limit,
		ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1,
		ReadBufferSize: buffer, WriteBufferSize: buffer,
		// For Redis Enterprise only; it starts goroutines that outlive Close.
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

// Check validates the fields that the Config of all stores has: a client that respects
// deadlines, a prefix without braces, and a timeout. The error joins every fault. It
// reports whether the client is a cluster's.
func Check(client redis.UniversalClient, prefix string, timeout time.Duration) (cluster bool, err error) {
	cluster, err = checkClient(client)
	faults := []error{err}
	if strings.ContainsAny(prefix, "{}") {
		faults = append(faults, errors.New("redisstore: Config.Prefix must not have braces, which select the slot of a key on a cluster"))
	}
	if timeout < 0 {
		faults = append(faults, errors.New("redisstore: Config.Timeout is negative"))
	}
	return cluster, fault.Join(faults...)
}

func checkClient(client redis.UniversalClient) (cluster bool, err error) {
	var respects bool
	switch c := client.(type) {
	case nil:
		return false, errors.New("redisstore: Config.Client is required")
	case interface{ Options() *redis.Options }:
		respects = c.Options().ContextTimeoutEnabled
	case interface{ Options() *redis.ClusterOptions }:
		cluster, respects = true, c.Options().ContextTimeoutEnabled
	default:
		return false, fmt.Errorf("redisstore: Config.Client: a %T won't do; it must be a *redis.Client or a *redis.ClusterClient", client)
	}
	if !respects {
		return false, errors.New("redisstore: Config.Client needs ContextTimeoutEnabled: true in its options, or a frozen server costs a request seconds; Options has the settings")
	}
	return cluster, nil
}
