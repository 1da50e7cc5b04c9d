package redisstore

import (
	"context"
	_ "embed"
	"time"

	"github.com/redis/go-redis/v9"
)

//go:embed claim.lua
var claimLua string

//go:embed release.lua
var releaseLua string

func (s *Store) claim(key string) string { return s.cfg.Prefix + ":claim:" + key }

// Claim implements cache.Claims.
func (s *Store) Claim(ctx context.Context, key, owner string, ttl time.Duration) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	mine, err := redis.NewScript(claimLua).Run(ctx, s.cfg.Client, []string{s.claim(key)}, owner, max(ttl.Milliseconds(), 1)).Bool()
	return mine, unavailable(err)
}

// Release implements cache.Claims.
func (s *Store) Release(ctx context.Context, key, owner string) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	return unavailable(redis.NewScript(releaseLua).Run(ctx, s.cfg.Client, []string{s.claim(key)}, owner).Err())
}
