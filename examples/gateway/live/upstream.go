package live

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ginfer/ginfer/auth"
	"github.com/ginfer/ginfer/balance"
	"github.com/ginfer/ginfer/breaker"
	"github.com/ginfer/ginfer/examples/gateway/config"
	"github.com/ginfer/ginfer/proxy"
	"github.com/ginfer/ginfer/routing"
)

// Upstream is a pool of servers at work, with its health and its counts.
type Upstream struct {
	*balance.Pool
	// Breakers are the circuits of the endpoints; nil: off.
	Breakers *breaker.Group
	// PerVersion means that each version has a circuit of its own at every endpoint.
	PerVersion bool

	transport http.RoundTripper // all layers
}

// RoundTrip implements http.RoundTripper.
func (u *Upstream) RoundTrip(req *http.Request) (*http.Response, error) {
	return u.transport.RoundTrip(req)
}

// Circuit returns the name of the circuit of an endpoint (HOST:PORT), for a version if each has
// its own.
func (u *Upstream) Circuit(endpoint, version string) string {
	if !u.PerVersion {
		return endpoint
	}
	return circuit(endpoint, version)
}

func circuit(endpoint, version string) string { return strings.TrimSpace(endpoint + " " + version) }

// upstreams builds the upstreams of the configuration, or those of the demo model.
func (b *builder) upstreams() error {
	all := b.Config.Upstreams
	if len(all) == 0 {
		var err error
		if all, err = b.g.demo.start(); err != nil {
			return err
		}
	}
	b.Upstreams = make(map[string]*Upstream, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		cfg := all[name]
		u, err := Keep(b.g.keeper, "upstream "+name, []any{cfg}, func() (Part[*Upstream], error) { return b.upstream(name, &cfg) })
		if err != nil {
			b.faults.Add("upstreams."+name, "%v", err)
			continue
		}
		b.Upstreams[name] = u
	}
	return nil
}

func (b *builder) upstream(name string, cfg *config.Upstream) (Part[*Upstream], error) {
	l := &Layers{Name: name, Config: cfg, Telemetry: b.g.telemetry, out: new(Upstream)}
	u := l.out
	u.transport = b.g.order.Behind(l)
	closing := func() {
		if u.Breakers != nil {
			u.Breakers.Close()
		}
	}
	if l.err != nil {
		closing()
		return Part[*Upstream]{}, l.err
	}
	run := func(ctx context.Context) error {
		defer u.CloseIdleConnections()
		return u.Run(ctx)
	}
	return Part[*Upstream]{Value: u, Run: []func(context.Context) error{run}, Close: closing, Linger: longest}, nil
}

// policy selects among the endpoints of an upstream.
func policy(cfg *config.Upstream) balance.Policy {
	switch cfg.Policy {
	case "token_rate":
		return balance.TokenRate()
	case "prefix_affinity":
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
		return balance.Hash(balance.HashConfig{Key: key, Algorithm: algorithm, LoadBound: cfg.Hash.LoadBound})
	default:
		return balance.LeastRequest()
	}
}

// pool is the configuration of an upstream for package balance.
func pool(cfg *config.Upstream, next http.RoundTripper) balance.Config {
	endpoints := make([]balance.Endpoint, len(cfg.Endpoints))
	for i, e := range cfg.Endpoints {
		endpoints[i] = balance.Endpoint{URL: e.URL, Weight: e.Weight}
	}
	out := balance.Config{Endpoints: endpoints, Policy: policy(cfg), Transport: next, Health: balance.Health{Path: "-"}}
	if !cfg.Breaker.Off {
		out.Outlier.Consecutive = -1 // the breaker handles failing endpoints
	}
	out.SlowStart.Window = time.Duration(cfg.SlowStart)
	if h := cfg.Health; h != nil {
		out.Health = balance.Health{Path: h.Path, Interval: time.Duration(h.Interval), Timeout: time.Duration(h.Timeout)}
	}
	return out
}

// circuits is the configuration of a breaker for package breaker: a circuit for each endpoint,
// or for each version there.
func circuits(cfg *config.Breaker) breaker.Config {
	var key func(*http.Request) string
	if cfg.PerVersion {
		key = func(req *http.Request) string {
			target, _ := routing.TargetFrom(req.Context())
			return circuit(req.URL.Host, target.Version)
		}
	}
	return breaker.Config{Key: key, Settings: breaker.Settings{
		Volume: cfg.Volume, FailurePercent: cfg.FailurePercent,
		Sleep: time.Duration(cfg.Sleep), MaxSleep: time.Duration(cfg.MaxSleep),
		Consecutive: cfg.Consecutive, SlowFirstByte: time.Duration(cfg.SlowFirstByte), SlowPercent: cfg.SlowPercent,
		CallersOff: isOff(cfg.Callers), RoutesOff: isOff(cfg.Routes), Trickle: cfg.Trickle,
		Successes: cfg.Successes, Ramp: cfg.Ramp, Step: time.Duration(cfg.Step), MaxConcurrent: cfg.MaxConcurrent,
	}}
}

// isOff reports whether an option that is on by default was switched off.
func isOff(on *bool) bool { return on != nil && !*on }

// expandHeaders replaces environment variables in the values.
func expandHeaders(headers map[string]string) (map[string]string, error) {
	out := make(map[string]string, len(headers))
	for name, value := range headers {
		var err error
		if out[name], err = config.Expand(value); err != nil {
			return nil, fmt.Errorf("headers.%s: %w", name, err)
		}
	}
	return out, nil
}

// connections configures the transport to the endpoints of an upstream.
func connections(u *config.Upstream) (proxy.TransportConfig, error) {
	forward, err := config.Expand(u.Proxy)
	if err != nil {
		return proxy.TransportConfig{}, fmt.Errorf("proxy: %w", err)
	}
	c := u.Connections
	return proxy.TransportConfig{
		Protocol: u.Protocol, CAFile: u.CAFile, CertFile: u.CertFile, KeyFile: u.KeyFile, Proxy: forward,
		IdleTimeout: time.Duration(c.Idle), MaxAge: time.Duration(c.MaxAge), MaxRequests: c.MaxRequests,
		MaxIdlePerHost: c.MaxIdle, MaxPerHost: c.Max,
	}, nil
}
