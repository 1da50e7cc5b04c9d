package redisstore

import (
	"context"
	_ "embed"
	"errors"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/ginfer/ginfer/cache"
	"github.com/redis/go-redis/v9"
)

//go:embed purge.lua
var purgeLua string

// aliveEvery is how long the connection of a Watch may be silent before it is checked.
const aliveEvery = 10 * time.Second

// purges is the key of the revisions, and the channel on which they are published.
func (s *Store) purges() string { return s.cfg.Prefix + ":{purges}" }

// Purge implements cache.Purges.
func (s *Store) Purge(ctx context.Context, tag cache.Tag) (revision uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	name := s.purges()
	text, err := redis.NewScript(purgeLua).Run(ctx, s.cfg.Client, []string{name}, string(tag), cache.MaxKeep.Microseconds(), name).Text()
	if err != nil {
		return 0, unavailable(err)
	}
	if revision, err = strconv.ParseUint(text, 10, 64); err != nil {
		return 0, unavailable(err)
	}
	return revision, nil
}

// Since implements cache.Purges.
func (s *Store) Since(ctx context.Context, revision uint64) ([]cache.Purge, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	found, err := s.cfg.Client.ZRangeByScoreWithScores(ctx, s.purges(), &redis.ZRangeBy{
		Min: "(" + strconv.FormatUint(revision, 10), Max: "+inf",
	}).Result()
	if err != nil {
		return nil, unavailable(err)
	}
	all := make([]cache.Purge, 0, len(found))
	for _, one := range found {
		tag, _ := one.Member.(string)
		all = append(all, cache.Purge{Tag: cache.Tag(tag), Revision: uint64(max(one.Score, 0))})
	}
	return all, nil
}

// Watch implements cache.Purges.
func (s *Store) Watch(ctx context.Context, observe func(cache.Purge)) error {
	sub := s.cfg.Client.Subscribe(ctx, s.purges())
	defer func() { _ = sub.Close() }()
	defer context.AfterFunc(ctx, func() { _ = sub.Close() })() // it ignores the end of the context
	for {
		message, err := sub.ReceiveTimeout(ctx, aliveEvery)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if isTimeout(err) {
			err = s.alive(ctx, sub)
		}
		if err != nil {
			return unavailable(err)
		}
		switch m := message.(type) {
		case *redis.Subscription:
			observe(cache.Purge{})
		case *redis.Message:
			if p, ok := readPurge(m.Payload); ok {
				observe(p)
			}
		}
	}
}

// alive pings over a silent connection: the server may be frozen.
func (s *Store) alive(ctx context.Context, sub *redis.PubSub) error {
	if err := sub.Ping(ctx); err != nil {
		return err
	}
	_, err := sub.ReceiveTimeout(ctx, aliveEvery)
	return err
}

func isTimeout(err error) bool {
	t, ok := errors.AsType[net.Error](err)
	return ok && t.Timeout()
}

// readPurge parses what the script published.
func readPurge(payload string) (p cache.Purge, ok bool) {
	revision, tag, ok := strings.Cut(payload, " ")
	n, err := strconv.ParseUint(revision, 10, 64)
	if !ok || err != nil {
		return p, false
	}
	return cache.Purge{Tag: cache.Tag(tag), Revision: n}, true
}
