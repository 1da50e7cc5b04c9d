package live

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/auth"
	"github.com/ginfer/ginfer/balance"
	"github.com/ginfer/ginfer/breaker"
	"github.com/ginfer/ginfer/cache"
	"github.com/ginfer/ginfer/examples/gateway/config"
	"github.com/ginfer/ginfer/proxy"
	"github.com/ginfer/ginfer/ratelimit"
)

// App is everything that one configuration describes.
type App struct {
	Config *config.Config
	Source config.Source
	// Groups have the longest path first.
	Groups    []*Group
	Upstreams map[string]*Upstream
	// Queue is nil without one.
	Queue *Queue

	cert      *tls.Certificate
	clientCAs *x509.CertPool // nil: no client certificates
	authn     *authn
	bodies    *proxy.Bodies
	buckets   ratelimit.Store
	responses *responses // nil: no group has a cache
	address   *auth.IPFilter
	progress  *progress
	rollouts  map[string][]*Rollout // by group

	nowhere  http.Handler
	inflight atomic.Int64
}

// builder builds an App. Its parts come from the Keeper.
type builder struct {
	*App
	g      *Gateway
	faults *config.Faults
}

// build builds an App of a configuration that was checked. When it fails, nothing that is in
// force has changed. The caller holds g.mu.
func (g *Gateway) build(src config.Source, cfg *config.Config) (*App, error) {
	b := &builder{App: &App{Config: cfg, Source: src}, g: g, faults: new(config.Faults)}
	for _, part := range []struct {
		path  string
		build func() error
	}{
		{"log", b.accessLog},
		{"public.tls", b.certificates},
		{"upstreams", b.upstreams},
		{"trusted_proxies", b.addresses},
		{"auth", b.authentication},
		{"memory", b.requestBodies},
		{"redis", b.rateLimitBuckets},
		{"cache_store", b.cacheStore},
		{"redis", b.rolloutProgress},
		{"groups", b.allRollouts},
		{"queue", b.queue},
	} {
		if err := part.build(); err != nil {
			b.faults.AddError(part.path, err)
			return nil, src.Explain(b.faults)
		}
	}
	b.groups()
	if !b.faults.Empty() {
		return nil, src.Explain(b.faults)
	}
	return b.App, nil
}

func (b *builder) accessLog() error {
	return b.g.telemetry.write(b.Config.Log, b.g.Log())
}

func (b *builder) certificates() error {
	b.cert = certificate(b.Config.Public.TLS, b.faults)
	b.clientCAs = authorities(b.Config.Public.TLS, b.faults)
	return nil
}

// addresses tells clients' addresses.
func (b *builder) addresses() (err error) {
	b.address, err = auth.NewIPFilter(auth.IPFilterConfig{TrustedProxies: b.Config.TrustedProxies})
	return err
}

// requestBodies is the budget of request bodies, which the groups share.
func (b *builder) requestBodies() (err error) {
	m := &b.Config.Memory
	b.bodies, err = Keep(b.g.keeper, "bodies", []any{m.BodyBudget, m.BodyShare}, func() (Part[*proxy.Bodies], error) {
		bodies, err := proxy.NewBodies(proxy.BodiesConfig{Budget: m.BodyBudget, Share: m.BodyShare})
		return Part[*proxy.Bodies]{Value: bodies}, err
	})
	return err
}

func (b *builder) groups() {
	for i := range b.Config.Groups {
		group, err := b.group(&b.Config.Groups[i])
		if err != nil {
			b.faults.AddError(fmt.Sprintf("groups[%d]", i), err)
			continue
		}
		b.Groups = append(b.Groups, group)
	}
	slices.SortStableFunc(b.Groups, func(x, y *Group) int { return len(y.Config.Path) - len(x.Config.Path) })
	none := &Stages{Group: &config.Group{Path: "nowhere"}, b: b}
	b.nowhere = engine(b.g.order.Observe(none), gin.HandlersChain{nowhere})
}

// nowhere responds to requests that no group matches.
func nowhere(c *gin.Context) {
	apierror.Abort(c, &apierror.Error{Status: http.StatusNotFound, Code: "no_route", Message: "No route group takes this path."})
}

// longest is how long requests may continue to use what a reload has replaced.
const longest = time.Hour

// PoolStates returns the state of every endpoint, by upstream.
func (a *App) PoolStates() map[string][]balance.Status {
	states := map[string][]balance.Status{}
	if a != nil {
		for name, u := range a.Upstreams {
			states[name] = u.Status()
		}
	}
	return states
}

// CircuitStates returns the state of every circuit that was used, by upstream.
func (a *App) CircuitStates() map[string][]breaker.Status {
	states := map[string][]breaker.Status{}
	if a != nil {
		for name, u := range a.Upstreams {
			if u.Breakers != nil {
				states[name] = u.Breakers.Status()
			}
		}
	}
	return states
}

// OpenStreams returns the number of open streams, by group.
func (a *App) OpenStreams() map[string]int {
	open := map[string]int{}
	if a != nil {
		for _, group := range a.Groups {
			open[group.Config.Path] = group.Streams.Open()
		}
	}
	return open
}

// memories are the caches in this process, by name.
func (a *App) memories() map[string]*cache.Memory {
	if a != nil && a.responses != nil {
		return map[string]*cache.Memory{cacheName: a.responses.l1}
	}
	return nil
}
