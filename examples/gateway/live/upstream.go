package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ginfer/ginfer/auth"
	"github.com/ginfer/ginfer/balance"
	"github.com/ginfer/ginfer/breaker"
	"github.com/ginfer/ginfer/proxy"
	"github.com/ginfer/ginfer/routing"
)

// pool is an upstream at work. It outlives a reload that does not change it,
// with its health and its counts.
type pool struct {
	*balance.Pool
	breakers  *breaker.Group    // nil: off
	versions  bool              // each has a circuit of its own
	transport http.RoundTripper // the pool behind its headers
	key       string            // what it was made of
	stop      context.CancelFunc
}

// close ends the pool's loops. Requests under way finish.
func (p *pool) close() {
	p.stop()
	p.CloseIdleConnections()
	if p.breakers != nil {
		time.AfterFunc(longest, p.breakers.Close) // requests under way still report there
	}
}

// RoundTrip implements http.RoundTripper.
func (p *pool) RoundTrip(req *http.Request) (*http.Response, error) {
	return p.transport.RoundTrip(req)
}

// keepPools makes the pools of a configuration; those that did not change are
// the ones at work.
func (g *gateway) keepPools(upstreams map[string]Upstream, faults *checker) map[string]*pool {
	pools := make(map[string]*pool, len(upstreams))
	for _, name := range slices.Sorted(maps.Keys(upstreams)) {
		key, err := json.Marshal(upstreams[name])
		if old := g.pools[name]; err == nil && old != nil && old.key == string(key) {
			pools[name] = old
			continue
		}
		p, err := g.newPool(name, upstreams[name])
		if err != nil {
			faults.add("upstreams."+name, "%v", err)
			continue
		}
		p.key = string(key)
		pools[name] = p
	}
	return pools
}

// startPools starts the new pools' loops and stops those of the old.
func (g *gateway) startPools(ctx context.Context, pools map[string]*pool) {
	for name, old := range g.pools {
		if pools[name] != old {
			old.close()
		}
	}
	for name, p := range pools {
		if g.pools[name] == p {
			continue
		}
		var loop context.Context
		loop, p.stop = context.WithCancel(context.WithoutCancel(ctx))
		go func() { _ = p.Run(loop) }() // ends with its context, without another error
	}
	g.pools = pools
}

// close ends what the gateway runs besides its ports.
func (g *gateway) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.work != nil {
		g.work.stop()
		g.work.done.Wait()
	}
	for _, p := range g.pools {
		p.close()
	}
	if g.authn != nil {
		g.authn.stop()
	}
	if g.store != nil {
		g.store.close()
	}
	for _, c := range g.caches {
		c.stop()
	}
	if g.answers != nil {
		g.answers.close()
	}
	for _, r := range g.rollouts {
		r.stop()
	}
	if g.progress != nil {
		g.progress.close()
	}
	g.demo.close()
	if g.telemetry != nil {
		if err := g.telemetry.close(); err != nil {
			g.log.Warn("telemetry was not sent", "error", err)
		}
	}
}

// policy chooses among the endpoints of an upstream.
func policy(cfg Upstream) balance.Policy {
	switch cfg.Policy {
	case "cadence":
		return balance.TokenRate()
	case "conversations":
		return balance.PrefixAffinity()
	case "round_robin":
		return balance.RoundRobin()
	case "hash":
		key := balance.ByHeader(cfg.Hash.Header)
		switch {
		case cfg.Hash.Body != "":
			key = balance.ByBody(cfg.Hash.Body)
		case cfg.Hash.Subject:
			key = balance.ByContext(auth.SubjectOf)
		}
		algorithm := map[string]balance.Algorithm{"rendezvous": balance.Rendezvous, "maglev": balance.Maglev}[cfg.Hash.Algorithm]
		return balance.Hash(balance.HashConfig{Key: key, Algorithm: algorithm})
	default:
		return balance.LeastRequest()
	}
}

// newBreakers makes a circuit for each endpoint, or for each version there.
func (g *gateway) newBreakers(name string, cfg *Breaker) (*breaker.Group, error) {
	var key func(*http.Request) string
	if cfg.PerVersion {
		key = func(req *http.Request) string {
			target, _ := routing.TargetFrom(req.Context())
			return circuit(req.URL.Host, target.Version)
		}
	}
	return breaker.New(breaker.Config{Key: key, OnEvent: g.hooks.Breaker(name), Settings: breaker.Settings{
		Volume: cfg.Volume, FailurePercent: cfg.FailurePercent,
		Sleep: time.Duration(cfg.Sleep), MaxSleep: time.Duration(cfg.MaxSleep),
		Consecutive: cfg.Consecutive, SlowFirstByte: time.Duration(cfg.SlowFirstByte), SlowPercent: cfg.SlowPercent,
		CallersOff: isOff(cfg.Callers), RoutesOff: isOff(cfg.Routes), Trickle: cfg.Trickle,
		Successes: cfg.Successes, Ramp: cfg.Ramp, Step: time.Duration(cfg.Step), MaxConcurrent: cfg.MaxConcurrent,
	}})
}

// isOff reports whether what is on by default was switched off.
func isOff(on *bool) bool { return on != nil && !*on }

// circuit names the circuit of a version at an endpoint.
func circuit(endpoint, version string) string { return strings.TrimSpace(endpoint + " " + version) }

func (g *gateway) newPool(name string, cfg Upstream) (*pool, error) {
	transport, err := proxy.NewTransport(proxy.TransportConfig{Protocol: cfg.Protocol, CAFile: cfg.CAFile, CertFile: cfg.CertFile, KeyFile: cfg.KeyFile})
	if err != nil {
		return nil, err
	}
	out := new(pool)
	var through http.RoundTripper = transport
	if !cfg.Breaker.Off {
		if out.breakers, err = g.newBreakers(name, &cfg.Breaker); err != nil {
			return nil, err
		}
		through = out.breakers.Transport(transport)
		out.versions = cfg.Breaker.PerVersion
	}
	endpoints := make([]balance.Endpoint, len(cfg.Endpoints))
	for i, e := range cfg.Endpoints {
		endpoints[i] = balance.Endpoint{URL: e.URL, Weight: e.Weight}
	}
	config := balance.Config{Endpoints: endpoints, Policy: policy(cfg), Transport: through, Health: balance.Health{Path: "-"}, OnEvent: g.hooks.Balance(name)}
	if out.breakers != nil {
		config.Outlier.Consecutive = -1 // endpoints that fail are for the breaker
	}
	config.SlowStart.Window = time.Duration(cfg.SlowStart)
	if h := cfg.Health; h != nil {
		config.Health = balance.Health{Path: h.Path, Interval: time.Duration(h.Interval), Timeout: time.Duration(h.Timeout)}
	}
	p, err := balance.New(config)
	if err != nil {
		return nil, err
	}
	out.Pool, out.transport = p, p
	if len(cfg.Headers) > 0 {
		set := make(map[string]string, len(cfg.Headers))
		for name, value := range cfg.Headers {
			if set[name], err = expand(value); err != nil {
				return nil, fmt.Errorf("headers.%s: %w", name, err)
			}
		}
		out.transport = headers{next: p, set: set}
	}
	meter := g.meter
	if cfg.NoInject {
		meter = g.plain
	}
	out.transport = g.tracing.Transport(meter.Transport(out.transport))
	return out, nil
}
