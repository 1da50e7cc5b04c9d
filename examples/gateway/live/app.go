package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/auth"
)

// app is everything that one configuration describes.
type app struct {
	cfg       *Config
	source    source
	cert      *tls.Certificate
	clientCAs *x509.CertPool // nil: no client certificates
	parts
	groups   []*group // longest path first
	nowhere  http.Handler
	inflight atomic.Int64
}

// build makes an app of a configuration that was checked. Nothing of the
// gateway changes when it fails. The caller holds g.mu.
func (g *gateway) build(ctx context.Context, src source, cfg *Config) (*app, error) {
	faults := new(checker)
	if err := g.write(cfg.Log, g.log); err != nil {
		faults.add("log", "%v", err)
		return nil, src.explain(faults.faults)
	}
	a := &app{cfg: cfg, source: src, nowhere: g.engine("nowhere", gin.HandlersChain{nowhere})} //nolint:contextcheck // requests bring their own
	a.cert = faults.certificate(cfg.Public.TLS)
	a.clientCAs = faults.clientCAs(cfg.Public.TLS)
	upstreams, err := g.upstreams(cfg)
	if err != nil {
		return nil, err
	}
	a.pools = g.keepPools(upstreams, faults) //nolint:contextcheck // requests bring their own
	a.authn = g.keepAuthn(&cfg.Auth, faults) //nolint:contextcheck // requests bring their own
	a.store = g.keepStore(cfg.Redis, faults)
	a.answers = g.keepAnswers(cfg, faults)
	a.progress = g.keepProgress(cfg, faults)
	a.address, _ = auth.NewIPFilter(auth.IPFilterConfig{TrustedProxies: cfg.TrustedProxies}) // they were checked
	if a.store == nil || a.progress == nil {
		return nil, src.explain(faults.faults)
	}
	if err := g.keepRollouts(cfg, &a.parts); err != nil {
		faults.addAll("groups", err)
	}
	if a.work, err = g.keepWork(cfg.Queue); err != nil {
		faults.add("queue", "%v", err)
		return nil, src.explain(faults.faults)
	}
	for i := range cfg.Groups {
		group, err := g.newGroup(&cfg.Groups[i], cfg, &a.parts) //nolint:contextcheck // requests bring their own
		if err != nil {
			faults.addAll(fmt.Sprintf("groups[%d]", i), err)
			continue
		}
		a.groups = append(a.groups, group)
	}
	if len(faults.faults) > 0 {
		return nil, src.explain(faults.faults)
	}
	slices.SortStableFunc(a.groups, func(x, y *group) int { return len(y.cfg.Path) - len(x.cfg.Path) })
	g.startParts(ctx, a)
	return a, nil
}

// startParts starts what is new and stops what is no longer used. What requests
// under way still use of it goes on working.
func (g *gateway) startParts(ctx context.Context, a *app) {
	g.startPools(ctx, a.pools)
	g.startWork(a.work) //nolint:contextcheck // it lives as long as the process
	if old := g.authn; old != a.authn {
		if old != nil {
			old.stop()
		}
		a.authn.start(ctx)
	}
	if old := g.store; old != nil && old != a.store {
		time.AfterFunc(longest, old.close) // requests under way still settle there
	}
	g.startCaches(ctx, a)
	g.startRollouts(ctx, a)
	g.authn, g.store, g.limits = a.authn, a.store, map[string]*limits{}
	for _, group := range a.groups {
		if group.limits != nil {
			g.limits[group.cfg.Path] = group.limits
		}
	}
}

// clientCAs are the authorities of client certificates.
func (k *checker) clientCAs(files *TLS) *x509.CertPool {
	if files == nil || files.ClientCA == "" {
		return nil
	}
	pool, err := authorities(files.ClientCA)
	if err != nil {
		k.add("public.tls.client_ca", "%v", err)
	}
	return pool
}

func (k *checker) certificate(files *TLS) *tls.Certificate {
	if files == nil {
		return nil
	}
	cert, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		k.add("public.tls", "%v", err)
		return nil
	}
	return &cert
}

// upstreams are those of the configuration, or the demo model's.
func (g *gateway) upstreams(cfg *Config) (map[string]Upstream, error) {
	if len(cfg.Upstreams) > 0 {
		return cfg.Upstreams, nil
	}
	return g.demo.start()
}

// longest is how long requests may go on with what a reload has replaced.
const longest = time.Hour

// pathParameters are what servlet containers cut off before they resolve a path.
var pathParameters = regexp.MustCompile(`;[^/]*`)

// plain is a path with double slashes as one and path parameters as nothing.
func plain(path string) string {
	if strings.Contains(path, ";") {
		path = pathParameters.ReplaceAllString(path, "")
	}
	for strings.Contains(path, "//") {
		path = strings.ReplaceAll(path, "//", "/")
	}
	return path
}

// find returns the group with the longest path that takes the request, read plainly, so
// that a server that reads paths so can't be reached through another group.
func (a *app) find(path string) *group {
	path = plain(path)
	for _, group := range a.groups {
		prefix := strings.TrimSuffix(group.cfg.Path, "/")
		if rest, ok := strings.CutPrefix(path, prefix); ok && (rest == "" || rest[0] == '/') {
			return group
		}
	}
	return nil
}

// headers sets a pool's own headers on the way out.
type headers struct {
	next http.RoundTripper
	set  map[string]string
}

// RoundTrip implements http.RoundTripper.
func (h headers) RoundTrip(req *http.Request) (*http.Response, error) {
	out := *req
	out.Header = req.Header.Clone()
	for name, value := range h.set {
		out.Header.Set(name, value)
	}
	return h.next.RoundTrip(&out)
}
