package live

import (
	"context"
	"errors"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/auth"
	"github.com/ginfer/ginfer/cache"
	"github.com/ginfer/ginfer/cache/redisstore"
	"github.com/ginfer/ginfer/examples/gateway/config"
)

// cacheName is the name of the store in metrics.
const cacheName = "responses"

// responses is where responses are stored: in this process, and behind it in Redis.
type responses struct {
	l1     *cache.Memory
	store  cache.Store
	purges cache.Purges // nil: there are no other replicas
}

// cacheStore is the store of all groups' caches.
func (b *builder) cacheStore() (err error) {
	for i := range b.Config.Groups {
		if b.Config.Groups[i].Has(config.StageCache) {
			b.responses, err = Keep(b.g.keeper, "cache store", []any{b.Config.CacheStore, b.Config.Redis}, b.newResponses)
			return err
		}
	}
	return nil
}

func (b *builder) newResponses() (Part[*responses], error) {
	var bounds config.CacheStore
	if b.Config.CacheStore != nil {
		bounds = *b.Config.CacheStore
	}
	onEvent := b.g.telemetry.Hooks.Cache(cacheName)
	l1, err := cache.NewMemory(cache.MemoryConfig{Entries: bounds.Entries, Bytes: bounds.Bytes, OnEvent: onEvent})
	if err != nil {
		return Part[*responses]{}, err
	}
	cfg := b.Config.Redis
	if cfg == nil {
		return Part[*responses]{Value: &responses{l1: l1, store: l1}}, nil
	}
	client, err := connect(cfg, redisstore.Options(cfg.Addresses...))
	if err != nil {
		return Part[*responses]{}, err
	}
	timeout := min(time.Duration(cfg.Timeout), 150*time.Millisecond) // a slower cache is of no use
	l2, err := redisstore.New(redisstore.Config{Client: client, Prefix: cfg.Prefix, Timeout: timeout})
	if err != nil {
		return Part[*responses]{}, errors.Join(err, client.Close())
	}
	tiered, err := cache.NewTiered(cache.TieredConfig{L1: l1, L2: l2, Timeout: timeout, OnEvent: onEvent})
	// Requests under way still store there.
	return Part[*responses]{Value: &responses{l1: l1, store: tiered, purges: l2}, Close: func() { _ = client.Close() }, Linger: longest}, err
}

// Cache is the stage cache: it serves repeated requests from stored responses.
func (s *Stages) Cache() gin.HandlersChain {
	if s.off(config.StageCache) || s.b.responses == nil {
		return nil
	}
	c, authenticated := s.Group.Cache, s.Group.Has(config.StageAuth)
	settings := []any{c, authenticated, s.b.Config.CacheStore, s.b.Config.Redis}
	made, err := Keep(s.Keeper, "cache "+s.Group.Path, settings, func() (Part[*cache.Cache], error) {
		cfg := cache.Config{
			Store: s.b.responses.store, Purges: s.b.responses.purges, Shared: c.Shared, Version: version, OnEvent: s.Hooks.Cache(s.Group.Path),
			LLM: cache.LLM{
				TTL: time.Duration(c.TTL), AllowNonZeroTemperature: c.AllowNonZeroTemperature, ToolCalls: c.ToolCalls, OptIn: c.OptIn,
				StaleWhileRevalidate: time.Duration(c.StaleWhileRevalidate), StaleIfError: time.Duration(c.StaleIfError),
				ReplicaWait: time.Duration(max(c.ReplicaWait, 0)),
			},
			Idempotency: cache.Idempotency{On: c.Idempotency > 0, TTL: time.Duration(max(c.Idempotency, 0))},
		}
		if authenticated && !c.Shared {
			cfg.Scope = auth.Tenant
		}
		made, err := cache.New(cfg)
		if err != nil {
			return Part[*cache.Cache]{}, err
		}
		return Part[*cache.Cache]{Value: made, Run: []func(context.Context) error{made.Run}}, nil
	})
	if err != nil {
		s.Fail(err)
		return nil
	}
	s.out.Cache = made
	return gin.HandlersChain{made.Middleware()}
}

// Purge removes responses of all groups by their tags, here and on the other replicas. It
// returns the number of groups with a cache.
func (a *App) Purge(ctx context.Context, tags ...cache.Tag) (groups int, err error) {
	var faults []error
	for _, group := range a.Groups {
		if group.Cache != nil {
			groups++
			faults = append(faults, group.Cache.Purge(ctx, tags...))
		}
	}
	return groups, errors.Join(faults...)
}
