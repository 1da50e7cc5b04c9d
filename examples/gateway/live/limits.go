package live

import (
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/auth"
	"github.com/ginfer/ginfer/examples/gateway/config"
	"github.com/ginfer/ginfer/ratelimit"
)

// RequestLimits is part of the stage limits: it limits requests by their rate or budget, those
// in shadow mode last.
func (s *Stages) RequestLimits() gin.HandlersChain {
	return s.limits("requests", func(limits []ratelimit.Limit, shadow bool) (gin.HandlerFunc, error) {
		cfg := ratelimit.Config{Limits: limits, Store: s.b.buckets, Resize: true, Shadow: shadow, OnEvent: s.Hooks.Limit(s.Group.Path)}
		if !shadow {
			cfg.Wait = wait(s.Group)
		}
		limiter, err := ratelimit.New(cfg)
		if err != nil {
			return nil, err
		}
		return limiter.Middleware(), nil
	})
}

// TokenLimits is part of the stage limits: it limits tokens by their rate or budget.
func (s *Stages) TokenLimits() gin.HandlersChain {
	return s.limits("tokens", func(limits []ratelimit.Limit, shadow bool) (gin.HandlerFunc, error) {
		tokens, err := ratelimit.NewTokens(ratelimit.TokensConfig{Limits: limits, Store: s.b.buckets, Resize: true, Shadow: shadow, OnEvent: s.Hooks.Limit(s.Group.Path)})
		if err != nil {
			return nil, err
		}
		return tokens.Middleware(), nil
	})
}

// limits keeps the limiters of one unit, with the requests that wait there.
func (s *Stages) limits(unit string, build func(limits []ratelimit.Limit, shadow bool) (gin.HandlerFunc, error)) (chain gin.HandlersChain) {
	for _, mode := range []string{"", " in shadow mode"} {
		if s.off(config.StageLimits) {
			return nil
		}
		limits, named := s.pick(unit, mode != "")
		if len(limits) == 0 {
			continue
		}
		settings := []any{named, s.Group.Wait, s.Group.Has(config.StageAuth), s.b.Config.TrustedProxies, s.b.Config.Redis}
		handler, err := Keep(s.Keeper, unit+mode+" "+s.Group.Path, settings, func() (Part[gin.HandlerFunc], error) {
			h, err := build(limits, mode != "")
			return Part[gin.HandlerFunc]{Value: h}, err
		})
		if err != nil {
			s.Fail(err)
			return nil
		}
		chain = append(chain, handler)
	}
	return chain
}

// Concurrency is part of the stage limits: it bounds the concurrent requests.
func (s *Stages) Concurrency() gin.HandlersChain {
	c := s.Group.Concurrency
	if s.off(config.StageLimits) || c == nil {
		return nil
	}
	settings := []any{c, s.Group.Wait, s.Group.Has(config.StageAuth)}
	adaptive, err := Keep(s.Keeper, "concurrency "+s.Group.Path, settings, func() (Part[*ratelimit.Adaptive], error) {
		a, err := ratelimit.NewAdaptive(ratelimit.AdaptiveConfig{
			Initial: c.Initial, Min: c.Min, Max: c.Max, Tolerance: c.Tolerance, Wait: wait(s.Group), OnEvent: s.Hooks.Limit(s.Group.Path),
		})
		return Part[*ratelimit.Adaptive]{Value: a}, err
	})
	if err != nil {
		s.Fail(err)
		return nil
	}
	s.out.Concurrency = adaptive
	return gin.HandlersChain{adaptive.Middleware()}
}

// pick returns the group's limits of one unit, enforced or in shadow mode, and their configuration.
func (s *Stages) pick(unit string, shadow bool) (out []ratelimit.Limit, named map[string]config.Limit) {
	named = map[string]config.Limit{}
	for _, name := range s.Group.Limits {
		l := s.b.Config.Limits[name]
		if l.Unit != unit || l.Shadow != shadow {
			continue
		}
		named[name] = l
		period := map[string]ratelimit.Period{"day": ratelimit.Day, "month": ratelimit.Month}[l.Period]
		out = append(out, ratelimit.Limit{Name: name, Key: forTags(&l, limitKey(&l, s.b.address)), Rate: ratelimit.Rate(l.Rate), Burst: l.Burst, Budget: l.Budget, Period: period})
	}
	return out, named
}

func limitKey(l *config.Limit, address *auth.IPFilter) func(*gin.Context) (string, error) {
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

// forTags restricts a key to callers with Tag, or without NoTag.
func forTags(l *config.Limit, key func(*gin.Context) (string, error)) func(*gin.Context) (string, error) {
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

// wait configures how requests wait. Turns are shared between tenants, where callers
// are authenticated.
func wait(cfg *config.Group) ratelimit.Wait {
	if cfg.Wait == nil {
		return ratelimit.Wait{}
	}
	out := ratelimit.Wait{Max: time.Duration(cfg.Wait.Max), Size: cfg.Wait.Size}
	if !cfg.Has(config.StageAuth) {
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
