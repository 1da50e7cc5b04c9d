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
	"github.com/ginfer/ginfer/routing"
	"github.com/redis/go-redis/v9"
)

//go:embed save.lua
var saveLua string

// Config describes a Store. Client is required.
type Config struct {
	// Client talks to a server, to Sentinels, or to a cluster. It must heed deadlines:
	// [Options] has the settings.
	Client redis.UniversalClient
	// Prefix begins every key. Gateways with the same one share their rollouts. It has
	// no braces. Default "ginfer".
	Prefix string
	// Timeout bounds each call. Default 1 second: no request waits for one.
	Timeout time.Duration
}

// Store keeps rollouts in Redis. It is a routing.RolloutStore and safe for concurrent use.
type Store struct{ cfg Config }

var _ routing.RolloutStore = (*Store)(nil)

// Options returns settings for redis.NewUniversalClient that heed deadlines. Addresses
// are of a server, of Sentinels (set MasterName), or of several nodes of a cluster (of
// one with IsClusterMode).
func Options(addrs ...string) *redis.UniversalOptions {
	const buffer = 4 << 10 // bytes a connection
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

// Load implements routing.RolloutStore.
func (s *Store) Load(ctx context.Context, name string) (p routing.Progress, err error) {
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
		return routing.Progress{}, fmt.Errorf("redisstore: %w", err)
	}
	return p, nil
}

// Save implements routing.RolloutStore.
func (s *Store) Save(ctx context.Context, name string, p routing.Progress) error {
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
		return routing.ErrConflict
	}
	return nil
}
