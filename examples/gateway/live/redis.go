package live

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ginfer/ginfer/examples/gateway/config"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/ginfer/ginfer/ratelimit/redisstore"
	"github.com/redis/go-redis/v9"
)

// rateLimitBuckets is the store of the limits' buckets: in this process, or in Redis.
func (b *builder) rateLimitBuckets() (err error) {
	cfg := b.Config.Redis
	b.buckets, err = Keep(b.g.keeper, "buckets", []any{cfg}, func() (Part[ratelimit.Store], error) { return b.newBuckets(cfg) })
	return err
}

func (b *builder) newBuckets(cfg *config.Redis) (Part[ratelimit.Store], error) {
	if cfg == nil {
		m, err := ratelimit.NewMemory(ratelimit.MemoryConfig{})
		return Part[ratelimit.Store]{Value: m}, err
	}
	client, err := connect(cfg, redisstore.Options(cfg.Addresses...))
	if err != nil {
		return Part[ratelimit.Store]{}, err
	}
	buckets, err := redisstore.New(redisstore.Config{Client: client, Prefix: cfg.Prefix, Timeout: time.Duration(cfg.Timeout)})
	if err != nil {
		return Part[ratelimit.Store]{}, errors.Join(err, client.Close())
	}
	mode := map[string]ratelimit.FailureMode{"fail_closed": ratelimit.FailClosed, "fail_open": ratelimit.FailOpen}[cfg.FailureMode]
	shared, err := ratelimit.NewShared(ratelimit.SharedConfig{Store: buckets, FailureMode: mode, Replicas: cfg.Replicas, OnEvent: b.g.telemetry.Hooks.Limit("store")})
	// Requests under way still settle there.
	return Part[ratelimit.Store]{Value: shared, Close: func() { _ = client.Close() }, Linger: longest}, err
}

// connect returns a client with the options of a store, as configured.
func connect(cfg *config.Redis, options *redis.UniversalOptions) (redis.UniversalClient, error) {
	options.MasterName, options.IsClusterMode = cfg.Master, cfg.Cluster
	options.Username, options.Password, options.DB = cfg.Username, cfg.Password, cfg.DB
	if limit := time.Duration(cfg.Timeout); limit > 0 { // the shortest of them decides
		options.DialTimeout, options.ReadTimeout, options.WriteTimeout, options.PoolTimeout = limit, limit, limit, limit
	}
	if cfg.TLS {
		roots, err := Authorities(cfg.CAFile)
		if err != nil {
			return nil, err
		}
		options.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	}
	return redis.NewUniversalClient(options), nil
}

// RedisLog is the logger for redis.SetLogger: it writes the client's own messages at debug
// level; those that matter are events too.
type RedisLog struct {
	// Log is where they are written.
	Log *slog.Logger
}

// Printf implements the client's logger.
func (l RedisLog) Printf(ctx context.Context, format string, v ...any) {
	l.Log.DebugContext(ctx, fmt.Sprintf(format, v...))
}
