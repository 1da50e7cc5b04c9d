package redisstore

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/ginfer/ginfer/internal/redisclient"
	"github.com/ginfer/ginfer/routing/rollout"
	"github.com/redis/go-redis/v9"
)

//go:embed save.lua
var saveLua string

// Config configures a Store. Client is required.
type Config struct {
	// Client is connected to a server, Sentinel, or a cluster. It must respect context
	// deadlines, as with [Options].
	Client redis.UniversalClient
	// Prefix begins every key, and must not contain braces. Gateways with the same Prefix
	// share their rollouts. Default: "ginfer".
	Prefix string
	// Timeout bounds each call. No request waits for one. Default: 1 second.
	Timeout time.Duration
}

// Store is a rollout.Store in Redis. It is safe for concurrent use.
type Store struct{ cfg Config }

var _ rollout.Store = (*Store)(nil)

// Options returns settings for redis.NewUniversalClient that respect context deadlines. The
// addresses are those of a server, of Sentinels (set MasterName), or of several nodes of a
// cluster (one node with IsClusterMode).
func Options(addrs ...string) *redis.UniversalOptions {
	const buffer = 4 << 10 // bytes per connection
	return redisclient.Options(buffer, addrs...)
}

// New checks cfg and returns a Store. It does not connect. The error joins every fault.
func New(cfg Config) (*Store, error) {
	if _, err := redisclient.Check(cfg.Client, cfg.Prefix, cfg.Timeout); err != nil {
		return nil, err
	}
	cfg.Prefix = cmp.Or(cfg.Prefix, "ginfer")
	cfg.Timeout = cmp.Or(cfg.Timeout, time.Second)
	return &Store{cfg}, nil
}

func (s *Store) key(name string) string { return s.cfg.Prefix + ":rollout:" + name }

// Load implements rollout.Store.
func (s *Store) Load(ctx context.Context, name string) (p rollout.Progress, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	text, err := s.cfg.Client.HGet(ctx, s.key(name), "progress").Bytes()
	if errors.Is(err, redis.Nil) {
		return p, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	if err != nil {
		return rollout.Progress{}, fmt.Errorf("redisstore: %w", err)
	}
	return p, nil
}

// Save implements rollout.Store.
func (s *Store) Save(ctx context.Context, name string, p rollout.Progress) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	text, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("redisstore: %w", err)
	}
	before, next := strconv.FormatUint(p.Revision-1, 10), strconv.FormatUint(p.Revision, 10)
	saved, err := redis.NewScript(saveLua).Run(ctx, s.cfg.Client, []string{s.key(name)}, before, next, text).Bool()
	switch {
	case err != nil:
		return fmt.Errorf("redisstore: %w", err)
	case !saved:
		return rollout.ErrConflict
	}
	return nil
}
