package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/auth"
	"github.com/ginfer/ginfer/cache"
	"github.com/ginfer/ginfer/cache/redisstore"
	"github.com/ginfer/ginfer/ratelimit"
)

// answers is where answers are kept: in this process, and behind it in Redis.
type answers struct {
	key    string // what it was made of
	near   *cache.Memory
	store  cache.Store
	purges cache.Purges // nil: there are no other replicas
	close  func()
}

// groupCache is a group's cache at work. It outlives a reload that does not change it.
type groupCache struct {
	*cache.Cache
	key  string // what it was made of
	from *answers
	stop context.CancelFunc
}

// keepAnswers makes the store of a configuration, or returns the one at work when that
// is the same.
func (g *gateway) keepAnswers(cfg *Config, faults *checker) *answers {
	if !anyHas(cfg, stageCache) {
		return nil
	}
	text, _ := json.Marshal([]any{cfg.CacheStore, cfg.Redis})
	if g.answers != nil && g.answers.key == string(text) {
		return g.answers
	}
	a, err := g.newAnswers(cfg)
	if err != nil {
		faults.addAll("cache_store", err)
		return nil
	}
	a.key = string(text)
	return a
}

func anyHas(cfg *Config, stage string) bool {
	for i := range cfg.Groups {
		if cfg.Groups[i].has(stage) {
			return true
		}
	}
	return false
}

func (g *gateway) newAnswers(cfg *Config) (*answers, error) {
	var bounds CacheStore
	if cfg.CacheStore != nil {
		bounds = *cfg.CacheStore
	}
	near, err := cache.NewMemory(cache.MemoryConfig{Entries: bounds.Entries, Bytes: bounds.Bytes, OnEvent: g.cacheEvent("answers")})
	if err != nil {
		return nil, err
	}
	if cfg.Redis == nil {
		return &answers{near: near, store: near, close: func() {}}, nil
	}
	client, err := connect(cfg.Redis, redisstore.Options(cfg.Redis.Addresses...))
	if err != nil {
		return nil, err
	}
	timeout := min(time.Duration(cfg.Redis.Timeout), 150*time.Millisecond) // a cache that is slower is none
	far, err := redisstore.New(redisstore.Config{Client: client, Prefix: cfg.Redis.Prefix, Timeout: timeout})
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	tiered, err := cache.NewTiered(cache.TieredConfig{L1: near, L2: far, Timeout: timeout, OnEvent: g.cacheEvent("answers")})
	return &answers{near: near, store: tiered, purges: far, close: func() { _ = client.Close() }}, err
}

// keepCache makes a group's cache, or returns the one at work when it is the same.
func (g *gateway) keepCache(cfg *Group, from *answers) (*groupCache, error) {
	text, _ := json.Marshal([]any{cfg.Cache, cfg.has(stageAuth)}) // plain values
	if old := g.caches[cfg.Path]; old != nil && old.key == string(text) && old.from == from {
		return old, nil
	}
	c := cfg.Cache
	config := cache.Config{
		Store: from.store, Purges: from.purges, Shared: c.Shared, Version: version, OnEvent: g.cacheEvent(cfg.Path),
		LLM: cache.LLM{
			TTL: time.Duration(c.TTL), AllowNonZeroTemperature: c.Sampled, ToolCalls: c.ToolCalls, OptIn: c.OptIn,
			StaleWhileRevalidate: time.Duration(c.StaleWhileRevalidate), StaleIfError: time.Duration(c.StaleIfError),
		},
		Idempotency: cache.Idempotency{On: c.Idempotency > 0, TTL: time.Duration(max(c.Idempotency, 0))},
	}
	if cfg.has(stageAuth) && !c.Shared {
		config.Scope = auth.Tenant
	}
	made, err := cache.New(config)
	if err != nil {
		return nil, err
	}
	return &groupCache{Cache: made, key: string(text), from: from}, nil
}

// startCaches starts the new groups' caches and stops those of the old.
func (g *gateway) startCaches(ctx context.Context, a *app) {
	next := make(map[string]*groupCache)
	for _, group := range a.groups {
		if group.cache != nil {
			next[group.cfg.Path] = group.cache
		}
	}
	for path, old := range g.caches {
		if next[path] != old {
			old.stop()
		}
	}
	for path, c := range next {
		if g.caches[path] != c {
			var loop context.Context
			loop, c.stop = context.WithCancel(context.WithoutCancel(ctx))
			go func() { _ = c.Run(loop) }() // ends with its context, without another error
		}
	}
	if old := g.answers; old != nil && old != a.answers {
		time.AfterFunc(longest, old.close) // requests under way still store there
	}
	g.caches, g.answers = next, a.answers
}

// cacheEvent tells the limits what was free, and what observes the rest.
func (g *gateway) cacheEvent(name string) func(context.Context, cache.Event) {
	observed := g.hooks.Cache(name)
	return func(ctx context.Context, e cache.Event) {
		if e.Kind == cache.Hit || e.Kind == cache.Coalesced {
			ratelimit.Report(ctx, 0, 0)
		}
		observed(ctx, e)
	}
}

// postPurge makes answers unreachable, here and on the other replicas: those of a
// ?model=, a &version=, a &tenant=, or of one &key=.
func (g *gateway) postPurge(c *gin.Context) {
	var tags []cache.Tag
	for name, tag := range map[string]func(string) cache.Tag{"model": cache.ByModel, "version": cache.ByVersion, "tenant": cache.ByTenant, "key": cache.ByKey} {
		for _, value := range c.QueryArray(name) {
			tags = append(tags, tag(value))
		}
	}
	if len(tags) == 0 {
		apierror.Abort(c, &apierror.Error{Status: http.StatusBadRequest, Code: "nothing_to_purge", Message: "Say what: ?model=, version=, tenant= or key=."})
		return
	}
	purged, faults := 0, []error(nil)
	for _, group := range g.current.Load().groups {
		if group.cache != nil {
			purged++
			faults = append(faults, group.cache.Purge(c.Request.Context(), tags...))
		}
	}
	if err := errors.Join(faults...); err != nil {
		apierror.Abort(c, &apierror.Error{Status: http.StatusBadGateway, Code: "purge_not_told", Message: "Purged here; the other replicas are told when the store is back.", Err: err})
		return
	}
	c.JSON(http.StatusOK, gin.H{"groups": purged, "tags": tags})
}
