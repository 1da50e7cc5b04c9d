package main

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/auth"
	"github.com/ginfer/ginfer/observe"
	"github.com/ginfer/ginfer/proxy"
	"github.com/ginfer/ginfer/routing"
	"github.com/ginfer/ginfer/routing/rollout"
	"github.com/ginfer/ginfer/stream"
)

// group is a route group at work: its chain, and the parts that are asked for
// their state later.
type group struct {
	cfg     *Group
	handler http.Handler
	inner   http.Handler // what the queue carries out: the chain behind the gate; nil: nothing
	limits  *limits      // nil: the stage is off
	cache   *groupCache  // nil: the stage is off
	streams *stream.Streams
	proxy   *proxy.Proxy

	router   *routing.Router // nil: the stage is off
	rollouts []*runningRollout
}

// parts are what the groups of one configuration have in common.
type parts struct {
	pools   map[string]*pool
	authn   *authn
	store   *store
	work    *work          // nil: there is no queue
	answers *answers       // nil: nothing is cached
	address *auth.IPFilter // tells clients' addresses

	progress *progress                    // of rollouts
	rollouts map[string][]*runningRollout // by group
}

// newGroup puts a group together: its gate, and the chain behind it.
func (g *gateway) newGroup(cfg *Group, all *Config, p *parts) (*group, error) {
	out := &group{cfg: cfg}
	known, err := g.known(cfg, p)
	if err != nil {
		return nil, err
	}
	gate, err := g.gate(cfg, all, known)
	if err != nil {
		return nil, err
	}
	chain, err := g.chain(out, all, p)
	if err != nil {
		return nil, err
	}
	out.handler = g.engine(cfg.Path, slices.Concat(gate, chain))
	if cfg.Queue {
		inner, err := g.gate(cfg, all, nil) // a job may come from another group
		if err != nil {
			return nil, err
		}
		out.inner = g.engine(cfg.Path, slices.Concat(inner, chain))
		out.handler = g.withQueue(cfg, p.work, append(gate, out.streams.Middleware()), out.handler)
	}
	out.handler = allowOrigins(cfg, out.handler)
	return out, nil
}

// chain is what requests pass that were let in, stage by stage.
func (g *gateway) chain(out *group, all *Config, p *parts) (gin.HandlersChain, error) {
	cfg := out.cfg
	var chain gin.HandlersChain
	if cfg.has(stageAuth) {
		chain = append(chain, auth.RequireModel(auth.RequireModelConfig{}))
	}
	decide, transport, err := g.route(out, p)
	if err != nil {
		return nil, err
	}
	chain = append(chain, decide...)
	if cfg.has(stageLimits) {
		if out.limits, err = g.keepLimits(cfg, all, p.store, p.address); err != nil {
			return nil, err
		}
		chain = append(chain, out.limits.chain...)
	}
	if cfg.has(stageCache) && p.answers != nil {
		if out.cache, err = g.keepCache(cfg, p.answers); err != nil {
			return nil, err
		}
		chain = append(chain, out.cache.Middleware())
	}
	if out.streams, err = stream.New(g.guards(cfg)); err != nil {
		return nil, err
	}
	if cfg.CORS != nil {
		transport = ownOrigins{transport}
	}
	if out.proxy, err = g.newProxy(cfg, all, p.authn, transport); err != nil {
		return nil, err
	}
	return append(chain, out.streams.Middleware(), out.proxy.Handler()), nil
}

// route is the stage that decides, and what carries out the decision.
func (g *gateway) route(out *group, p *parts) (gin.HandlersChain, http.RoundTripper, error) {
	cfg := out.cfg
	if !cfg.has(stageRouting) {
		return nil, p.pools[cfg.Upstream], nil
	}
	out.rollouts = p.rollouts[cfg.Path]
	router, err := g.newRouter(cfg, p.pools, out.rollouts)
	if err != nil {
		return nil, nil, err
	}
	chain := gin.HandlersChain{router.Middleware()}
	if len(out.rollouts) > 0 {
		chain = append(chain, feedback(cfg))
	}
	out.router = router
	return chain, router.Transport(), nil
}

// known is the stage that says who calls.
func (g *gateway) known(cfg *Group, p *parts) (gin.HandlersChain, error) {
	if !cfg.has(stageAuth) {
		return nil, nil
	}
	authn, err := auth.New(auth.Config{Verifiers: p.authn.verifiers, OnEvent: g.hooks.Auth})
	if err != nil {
		return nil, err
	}
	return gin.HandlersChain{authn.Middleware()}, nil
}

// gate are the stages that say who may come in. The caller of a job is known already.
func (g *gateway) gate(cfg *Group, all *Config, known gin.HandlersChain) (gin.HandlersChain, error) {
	bodies, err := g.keepBodies(&all.Memory)
	if err != nil {
		return nil, err
	}
	chain := gin.HandlersChain{bodies.Within(cfg.Proxy.MaxBody).Middleware(), methods(cfg)}
	if cfg.has(stageIP) && cfg.IP != nil {
		filter, err := auth.NewIPFilter(auth.IPFilterConfig{Allow: cfg.IP.Allow, Deny: cfg.IP.Deny, TrustedProxies: all.TrustedProxies, OnEvent: g.hooks.Address})
		if err != nil {
			return nil, err
		}
		chain = append(chain, filter.Middleware())
	}
	chain = append(chain, known...)
	if cfg.has(stageAuth) && len(cfg.Scopes) > 0 {
		chain = append(chain, auth.Require(cfg.Scopes...))
	}
	return chain, nil
}

// keepBodies returns the budget of request bodies, which groups share and a reload keeps.
func (g *gateway) keepBodies(cfg *Memory) (*proxy.Bodies, error) {
	wanted := proxy.BodiesConfig{Budget: cfg.BodyBudget, Share: cfg.BodyShare}
	if g.bodies != nil && g.bodiesOf == wanted {
		return g.bodies, nil
	}
	bodies, err := proxy.NewBodies(wanted)
	if err != nil {
		return nil, err
	}
	g.bodies, g.bodiesOf = bodies, wanted
	return bodies, nil
}

// guards are the limits of the stream stage. When it is off, clients that do
// not read are dropped all the same.
func (g *gateway) guards(cfg *Group) stream.Config {
	if !cfg.has(stageStream) {
		return stream.Config{Heartbeat: -1, Idle: -1, OnEvent: g.hooks.Stream}
	}
	return stream.Config{
		Heartbeat: time.Duration(cfg.Stream.Heartbeat), WriteTimeout: time.Duration(cfg.Stream.WriteTimeout),
		Idle: time.Duration(cfg.Stream.Idle), Total: time.Duration(cfg.Stream.Total), OnEvent: g.hooks.Stream,
	}
}

// engine serves every path and method with one chain.
func (g *gateway) engine(route string, chain gin.HandlersChain) http.Handler {
	r := gin.New()
	_ = r.SetTrustedProxies(nil) // Gin's default is to believe everybody
	r.Use(g.middlewares(route)...)
	r.Use(apierror.Recovery(g.logPanic))
	r.Any("/*path", chain...) // the cache does nothing without a route
	r.NoRoute(chain...)       // for any other method
	return r
}

// methods answers 405 to what a group does not take.
func methods(cfg *Group) gin.HandlerFunc {
	return func(c *gin.Context) {
		if cfg.allowed(c.Request.Method) {
			return
		}
		c.Header("Allow", strings.Join(cfg.Methods, ", "))
		apierror.Abort(c, &apierror.Error{Status: http.StatusMethodNotAllowed, Code: "method_not_allowed", Message: "The method is not allowed here."})
	}
}

func (g *gateway) newRouter(group *Group, pools map[string]*pool, rollouts []*runningRollout) (*routing.Router, error) {
	cfg := group.Routing
	table, err := routing.ParseTable(cfg.Table)
	if err != nil {
		return nil, err
	}
	upstreams := make(map[string]http.RoundTripper, len(pools))
	for name, p := range pools {
		upstreams[name] = p
	}
	shared := make([]*rollout.Rollout, len(rollouts))
	for i, r := range rollouts {
		shared[i] = r.Rollout
	}
	var mirror routing.MirrorConfig
	if m := cfg.Mirror; m != nil {
		mirror = routing.MirrorConfig{Concurrent: m.Concurrent, Timeout: time.Duration(m.Timeout)}
	}
	var usable func(context.Context, string) bool
	if group.has(stageAuth) {
		usable = auth.MayUse
	}
	return routing.New(routing.Config{
		Table: table, Rollouts: shared, Mirror: mirror, Upstreams: upstreams, StickyHeader: cfg.StickyHeader,
		Subject: subject, Tags: auth.TagsOf, Usable: usable, OnEvent: g.hooks.Routing,
	})
}

// subject is the caller, but for the one token that all may share.
func subject(ctx context.Context) (string, bool) {
	if id, ok := auth.FromContext(ctx); ok && id.Issuer == tokenIssuer {
		return "", false
	}
	return auth.SubjectOf(ctx)
}

func (g *gateway) newProxy(cfg *Group, all *Config, who *authn, transport http.RoundTripper) (*proxy.Proxy, error) {
	repeat := proxy.Idempotent
	if cfg.Proxy.RetryPosts {
		repeat = proxy.Always
	}
	return proxy.New(proxy.Config{
		Transport:      transport,
		MaxBody:        min(cfg.Proxy.MaxBody, 0),
		TrustedProxies: prefixes(all.TrustedProxies),
		Retry:          proxy.Retry{Attempts: cfg.Proxy.Tries, Repeat: repeat},
		Timeouts: proxy.Timeouts{
			Connect: time.Duration(cfg.Proxy.Connect), FirstByte: time.Duration(cfg.Proxy.FirstByte),
			FirstContent: time.Duration(cfg.Proxy.FirstContent), Hold: time.Duration(cfg.Proxy.Hold),
			Idle: time.Duration(cfg.Proxy.Idle), Stall: time.Duration(cfg.Proxy.Stall),
			Total: time.Duration(cfg.Proxy.Total), Tunnel: time.Duration(cfg.Proxy.Tunnel),
		},
		Hedge: hedge(cfg.Proxy.Hedge),
		Class: version,
		Rewrite: func(c *gin.Context, out *http.Request) {
			observe.ForwardRequestID(c, out)
			if cfg.has(stageAuth) {
				hideCredential(out)
			}
			if who.forward != nil { // also without the stage: nobody may send these himself
				who.forward.Rewrite(c, out)
			}
			if cfg.Proxy.StripPrefix {
				stripPrefix(out, strings.TrimSuffix(cfg.Path, "/"))
			}
		},
		OnEvent: g.hooks.Proxy,
	})
}

func hedge(cfg *Hedge) *proxy.Hedge {
	if cfg == nil {
		return nil
	}
	return &proxy.Hedge{Ratio: cfg.Ratio, Quantile: cfg.Quantile}
}

// version is the one that was decided on: its responses take alike to begin.
func version(c *gin.Context) string {
	d, _ := routing.FromContext(c.Request.Context())
	return d.Version
}

// stripPrefix takes the group's path off, in both of its spellings.
func stripPrefix(out *http.Request, prefix string) {
	u := out.URL
	if rest, ok := strings.CutPrefix(u.Path, prefix); ok {
		u.Path = "/" + strings.TrimPrefix(rest, "/")
		if raw, ok := strings.CutPrefix(u.RawPath, prefix); ok {
			u.RawPath = "/" + strings.TrimPrefix(raw, "/")
		} else {
			u.RawPath = ""
		}
	}
}

func prefixes(cidrs []string) []netip.Prefix {
	out := make([]netip.Prefix, len(cidrs))
	for i, cidr := range cidrs {
		out[i] = netip.MustParsePrefix(cidr) // checked when the configuration was read
	}
	return out
}

// drain waits until the group's streams and tunnels have ended; at the end of
// ctx it ends them.
func (g *group) drain(ctx context.Context) error {
	err := errors.Join(g.proxy.Drain(ctx), g.streams.Drain(ctx))
	if g.router != nil {
		err = errors.Join(err, g.router.Drain(ctx))
	}
	return err
}
