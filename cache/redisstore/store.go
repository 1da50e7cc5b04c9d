package redisstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ginfer/ginfer/cache"
	"github.com/ginfer/ginfer/internal/fault"
	"github.com/ginfer/ginfer/internal/redisclient"
	"github.com/redis/go-redis/v9"
)

// Config configures a Store. Client is required.
type Config struct {
	// Client is the client of a server, of Sentinels, or of a cluster. It must respect
	// deadlines: [Options] has the settings.
	Client redis.UniversalClient
	// Prefix is the prefix of every key, without braces. Gateways with the same one share
	// their entries. Default: "ginfer".
	Prefix string
	// Timeout bounds each call. Default: 50 ms.
	Timeout time.Duration
	// MaxBytes is the largest entry that is stored, in bytes. Default: 2 MiB.
	MaxBytes int
}

// Store implements cache.Store, cache.Purges and cache.Claims in Redis. It is safe for
// concurrent use.
type Store struct {
	cfg Config
}

var (
	_ cache.Store  = (*Store)(nil)
	_ cache.Purges = (*Store)(nil)
	_ cache.Claims = (*Store)(nil)
)

// Options returns settings for redis.NewUniversalClient with which a frozen server delays a
// request by 50 ms, instead of the 5 s of the defaults. The addresses are those of a
// server, of Sentinels (set MasterName), or of several nodes of a cluster (one with
// IsClusterMode).
func Options(addrs ...string) *redis.UniversalOptions {
	const buffer = 16 << 10 // bytes per connection
	return redisclient.Options(buffer, addrs...)
}

// New checks cfg and returns a Store. It does not connect. The error joins every fault.
func New(cfg Config) (*Store, error) {
	_, err := redisclient.Check(cfg.Client, cfg.Prefix, cfg.Timeout)
	if cfg.MaxBytes < 0 {
		err = fault.Join(err, errors.New("redisstore: Config.MaxBytes is negative"))
	}
	if err != nil {
		return nil, err
	}
	cfg.Prefix = cmp.Or(cfg.Prefix, "ginfer")
	cfg.Timeout = cmp.Or(cfg.Timeout, 50*time.Millisecond)
	cfg.MaxBytes = cmp.Or(cfg.MaxBytes, 2<<20)
	return &Store{cfg: cfg}, nil
}

func (s *Store) name(key string) string { return s.cfg.Prefix + ":cache:" + key }

// Get implements cache.Store. It also requests the time to live, so that the clocks of
// replicas need not agree.
func (s *Store) Get(ctx context.Context, key string) (*cache.Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	name := s.name(key)
	pipe := s.cfg.Client.Pipeline()
	value, left := pipe.Get(ctx, name), pipe.PTTL(ctx, name)
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return nil, unavailable(err)
	}
	b, err := value.Bytes()
	if err != nil || left.Val() <= 0 { // it may have expired in between
		return nil, cache.ErrNotFound
	}
	e := new(cache.Entry)
	if e.Decode(b, time.Now().Add(left.Val())) != nil {
		return nil, cache.ErrNotFound // another version wrote it
	}
	return e, nil
}

// Set implements cache.Store.
func (s *Store) Set(ctx context.Context, key string, e *cache.Entry) error {
	left := time.Until(e.ExpiresAt).Truncate(time.Millisecond)
	b, err := e.AppendBinary(nil)
	if err != nil || left <= 0 || len(b) > s.cfg.MaxBytes {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	return unavailable(s.cfg.Client.Set(ctx, s.name(key), b, left).Err())
}

// Delete implements cache.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	return unavailable(s.cfg.Client.Del(ctx, s.name(key)).Err())
}

// Probe does what the other methods do, on the nodes that have the key and its claim: it writes
// by a script, reads and deletes. A cache.Tiered calls it while the store is down.
func (s *Store) Probe(ctx context.Context, key string) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	const owner, ttl = "probe", 1000 // milliseconds
	pipe := s.cfg.Client.Pipeline()
	for _, name := range []string{s.name(key), s.claim(key)} {
		probe := []string{"{" + name + "}:probe"} // the braces select the node
		pipe.Eval(ctx, claimLua, probe, owner, ttl)
		pipe.Get(ctx, probe[0])
		pipe.Eval(ctx, releaseLua, probe, owner)
	}
	_, err := pipe.Exec(ctx)
	if errors.Is(err, redis.Nil) { // it expired in between
		return nil
	}
	return unavailable(err)
}

func unavailable(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("redisstore: %w: %w", cache.ErrUnavailable, err)
}
