package live

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/cache"
	"github.com/ginfer/ginfer/examples/gateway/config"
	"github.com/ginfer/ginfer/proxy"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/ginfer/ginfer/routing"
	"github.com/ginfer/ginfer/stream"
)

// Order is the order of everything that a request passes; see package chain.
type Order struct {
	// Outside is around all else, also around the queue's own paths.
	Outside func(*Stages, http.Handler) http.Handler
	// Observe are the first handlers of every request.
	Observe func(*Stages) gin.HandlersChain
	// Gate are the handlers that decide on admission.
	Gate func(*Stages) gin.HandlersChain
	// Inside are the handlers of admitted requests; the last one responds.
	Inside func(*Stages) gin.HandlersChain
	// Behind is the transport of an upstream.
	Behind func(*Layers) http.RoundTripper
}

// Group is a route group at work. Its stages put here what is read later.
type Group struct {
	Config *config.Group
	// Streams are the open streams.
	Streams *stream.Streams
	// Proxy forwards its requests.
	Proxy *proxy.Proxy
	// Concurrency is its adaptive limit; nil: unbounded.
	Concurrency *ratelimit.Adaptive
	// Cache is nil when the stage is off.
	Cache *cache.Cache
	// Rollouts are those of its table.
	Rollouts []*Rollout

	prefix  string          // its path, without a slash at the end
	folded  string          // the prefix, as fold returns it
	router  *routing.Router // nil: the stage is off
	handler http.Handler
	inner   http.Handler // for requests of the queue; nil: it has none here
}

// Concurrent returns the concurrent requests and their limit; 0, 0 without one.
func (g *Group) Concurrent() (inflight, limit int) {
	if g.Concurrency == nil {
		return 0, 0
	}
	return g.Concurrency.Inflight(), g.Concurrency.Limit()
}

// group builds a group in the order of its stages.
func (b *builder) group(cfg *config.Group) (*Group, error) {
	prefix := strings.TrimSuffix(cfg.Path, "/")
	out := &Group{Config: cfg, prefix: prefix, folded: strings.TrimSuffix(fold(prefix), "/")}
	s := &Stages{Group: cfg, Keeper: b.g.keeper, Hooks: b.g.telemetry.Hooks, b: b, out: out}
	order := b.g.order
	observe, gate, inside := order.Observe(s), order.Gate(s), order.Inside(s)
	out.handler = engine(observe, slices.Concat(gate, inside))
	if cfg.Queue && s.err == nil {
		s.queued = true
		out.inner = engine(observe, slices.Concat(order.Gate(s), inside))
		s.queued = false
		out.handler = queuePaths(b.Queue, cfg.Path, observe, append(gate, out.Streams.Middleware()), out.handler)
	}
	out.handler = order.Outside(s, out.handler)
	return out, s.err
}

// engine serves every path and method with one chain.
func engine(observe, chain gin.HandlersChain) http.Handler {
	r := gin.New()
	_ = r.SetTrustedProxies(nil) // Gin trusts every address by default
	r.Use(observe...)
	r.Any("/*path", chain...) // the cache needs a route
	r.NoRoute(chain...)       // for any other method
	return r
}

// drain waits until the group's streams and tunnels have ended; at the end of
// ctx it ends them.
func (g *Group) drain(ctx context.Context) error {
	err := errors.Join(g.Proxy.Drain(ctx), g.Streams.Drain(ctx))
	if g.router != nil {
		err = errors.Join(err, g.router.Drain(ctx))
	}
	return err
}
