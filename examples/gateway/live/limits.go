package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/auth"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/ginfer/ginfer/ratelimit/redisstore"
	"github.com/redis/go-redis/v9"
)

// store is where buckets are kept: in this process, or in Redis.
type store struct {
	key     string // what it was made of
	buckets ratelimit.Store
	close   func()
}

// keepStore makes the store that a configuration says, or returns the one at work
// when that is the same.
func (g *gateway) keepStore(cfg *Redis, faults *checker) *store {
	key, _ := json.Marshal(cfg) //nolint:gosec // with its password: it is compared and goes nowhere
	if g.store != nil && g.store.key == string(key) {
		return g.store
	}
	s, err := g.newStore(cfg)
	if err != nil {
		faults.addAll("redis", err)
		return nil
	}
	s.key = string(key)
	return s
}

func (g *gateway) newStore(cfg *Redis) (*store, error) {
	if cfg == nil {
		m, err := ratelimit.NewMemory(ratelimit.MemoryConfig{})
		return &store{buckets: m, close: func() {}}, err
	}
	client, err := connect(cfg, redisstore.Options(cfg.Addresses...))
	if err != nil {
		return nil, err
	}
	buckets, err := redisstore.New(redisstore.Config{Client: client, Prefix: cfg.Prefix, Timeout: time.Duration(cfg.Timeout)})
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	down := map[string]ratelimit.FailureMode{"deny": ratelimit.FailClosed, "allow": ratelimit.FailOpen}[cfg.WhenDown]
	shared, err := ratelimit.NewShared(ratelimit.SharedConfig{Store: buckets, FailureMode: down, Replicas: cfg.Replicas, OnEvent: g.hooks.Limit("store")})
	return &store{buckets: shared, close: func() { _ = client.Close() }}, err
}

// connect makes a client with the options that a store wants, as the configuration says.
func connect(cfg *Redis, options *redis.UniversalOptions) (redis.UniversalClient, error) {
	options.MasterName, options.IsClusterMode = cfg.Master, cfg.Cluster
	options.Username, options.Password, options.DB = cfg.Username, cfg.Password, cfg.DB
	if limit := time.Duration(cfg.Timeout); limit > 0 { // the shortest of them holds
		options.DialTimeout, options.ReadTimeout, options.WriteTimeout, options.PoolTimeout = limit, limit, limit, limit
	}
	if cfg.TLS {
		roots, err := authorities(cfg.CAFile)
		if err != nil {
			return nil, err
		}
		options.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	}
	return redis.NewUniversalClient(options), nil
}

// redisLog takes what the client says by itself; what matters of it is an event too.
type redisLog struct{ log *slog.Logger }

// Printf implements the client's logger.
func (l redisLog) Printf(ctx context.Context, format string, v ...any) {
	l.log.DebugContext(ctx, fmt.Sprintf(format, v...))
}

// authorities are those in a PEM file; nil, the system's, without one.
func authorities(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil //nolint:nilnil // nil is the system's
	}
	text, err := os.ReadFile(file) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: no certificate in it", file)
	}
	return pool, nil
}

// limits are those of a group. They outlive a reload that does not change them, with
// what they have learnt.
type limits struct {
	key      string // what they were made of
	chain    gin.HandlersChain
	adaptive *ratelimit.Adaptive // nil: not bounded
	bound    string              // what that was made of
}

// keepLimits makes a group's limits, or returns those at work when they are the same.
func (g *gateway) keepLimits(cfg *Group, all *Config, s *store, address *auth.IPFilter) (*limits, error) {
	named := make(map[string]Limit, len(cfg.Limits))
	for _, name := range cfg.Limits {
		named[name] = all.Limits[name]
	}
	bound, _ := json.Marshal([]any{cfg.Wait, cfg.Concurrency, cfg.has(stageAuth)}) // structs of plain values
	text, _ := json.Marshal([]any{named, all.TrustedProxies})
	l := &limits{key: string(bound) + string(text), bound: string(bound)}
	old := g.limits[cfg.Path]
	if old != nil && old.key == l.key && s == g.store {
		return old, nil
	}
	if old != nil && old.bound == l.bound {
		l.adaptive = old.adaptive // with those under way
	}
	if err := errors.Join(g.addRequests(l, cfg, all, s, address), g.addTokens(l, cfg, all, s, address), g.addConcurrency(l, cfg)); err != nil {
		return nil, err
	}
	return l, nil
}

func (g *gateway) addRequests(l *limits, cfg *Group, all *Config, s *store, address *auth.IPFilter) error {
	for _, shadow := range []bool{false, true} {
		some := pick(cfg, all, "requests", shadow, address)
		if len(some) == 0 {
			continue
		}
		config := ratelimit.Config{Limits: some, Store: s.buckets, Shadow: shadow, OnEvent: g.hooks.Limit(cfg.Path)}
		if !shadow {
			config.Wait = wait(cfg)
		}
		limiter, err := ratelimit.New(config)
		if err != nil {
			return err
		}
		l.chain = append(l.chain, limiter.Middleware())
	}
	return nil
}

func (g *gateway) addTokens(l *limits, cfg *Group, all *Config, s *store, address *auth.IPFilter) error {
	for _, shadow := range []bool{false, true} {
		some := pick(cfg, all, "tokens", shadow, address)
		if len(some) == 0 {
			continue
		}
		tokens, err := ratelimit.NewTokens(ratelimit.TokensConfig{Limits: some, Store: s.buckets, Shadow: shadow, OnEvent: g.hooks.Limit(cfg.Path)})
		if err != nil {
			return err
		}
		l.chain = append(l.chain, tokens.Middleware())
	}
	return nil
}

func (g *gateway) addConcurrency(l *limits, cfg *Group) (err error) {
	c := cfg.Concurrency
	if c == nil {
		return nil
	}
	if l.adaptive == nil {
		if l.adaptive, err = ratelimit.NewAdaptive(ratelimit.AdaptiveConfig{
			Initial: c.Initial, Min: c.Min, Max: c.Max, Tolerance: c.Tolerance, Wait: wait(cfg), OnEvent: g.hooks.Limit(cfg.Path),
		}); err != nil {
			return err
		}
	}
	l.chain = append(l.chain, l.adaptive.Middleware())
	return nil
}

// pick are the group's limits of one unit, those that hold or those in the shadow.
func pick(cfg *Group, all *Config, unit string, shadow bool, address *auth.IPFilter) []ratelimit.Limit {
	var out []ratelimit.Limit
	for _, name := range cfg.Limits {
		l := all.Limits[name]
		if l.Unit != unit || l.Shadow != shadow {
			continue
		}
		period := map[string]ratelimit.Period{"day": ratelimit.Day, "month": ratelimit.Month}[l.Period]
		out = append(out, ratelimit.Limit{Name: name, Key: l.forTags(l.key(address)), Rate: ratelimit.Rate(l.Rate), Burst: l.Burst, Budget: l.Budget, Period: period})
	}
	return out
}

func (l *Limit) key(address *auth.IPFilter) func(*gin.Context) (string, error) {
	switch l.By {
	case "subject":
		return auth.Subject
	case "tenant":
		return auth.Tenant
	case "ip":
		return ratelimit.ByAddr(address.ClientIP)
	case "everybody":
		return ratelimit.Global
	}
	return ratelimit.ByHeader(strings.TrimPrefix(l.By, "header:"))
}

// forTags makes a key one for callers with Tag, or without NoTag, alone.
func (l *Limit) forTags(key func(*gin.Context) (string, error)) func(*gin.Context) (string, error) {
	if l.Tag == "" && l.NoTag == "" {
		return key
	}
	return func(c *gin.Context) (string, error) {
		tags := auth.TagsOf(c.Request.Context())
		if l.Tag != "" && !slices.Contains(tags, l.Tag) || l.NoTag != "" && slices.Contains(tags, l.NoTag) {
			return "", ratelimit.ErrSkip
		}
		return key(c)
	}
}

// wait is how long requests wait. Turns are shared between tenants, where callers
// are known.
func wait(cfg *Group) ratelimit.Wait {
	if cfg.Wait == nil {
		return ratelimit.Wait{}
	}
	out := ratelimit.Wait{Max: time.Duration(cfg.Wait.Max), Size: cfg.Wait.Size}
	if !cfg.has(stageAuth) {
		return out
	}
	out.Tenant = auth.Tenant
	out.Priority = func(c *gin.Context) int {
		best := 0
		for _, tag := range auth.TagsOf(c.Request.Context()) {
			best = max(best, cfg.Wait.Priority[tag])
		}
		return best
	}
	return out
}
