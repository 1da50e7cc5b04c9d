package config

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
)

// checker finds the faults of a configuration.
type checker struct{ Faults }

// check finds the faults that are visible without building anything, and fills in defaults.
func (c *Config) check() *Faults {
	k := new(checker)
	c.Public.Address = k.listener("public", c.Public.Address, c.Public.SocketMode, "127.0.0.1:8080")
	c.Private.Address = k.listener("private", c.Private.Address, c.Private.SocketMode, "127.0.0.1:9090")
	for i, cidr := range c.TrustedProxies {
		if !isTrusted(cidr) {
			k.Add(fmt.Sprintf("trusted_proxies[%d]", i), "%q is not a CIDR range such as 10.0.0.0/8, or unix", cidr)
		}
	}
	if m := c.Memory; m.LimitPercent < -1 || m.LimitPercent > 100 || m.GOGC < -1 || m.BodyBudget < 0 || !(m.BodyShare >= 0 && m.BodyShare <= 1) {
		k.Add("memory", "limit_percent is 1 to 100 or -1, gogc is positive or -1, body_budget is positive, body_share is above 0 and at most 1")
	}
	if c.Memory.GOGC == -1 && c.Memory.LimitPercent == -1 {
		k.Add("memory", "gogc -1 needs a limit: nothing would ever be collected")
	}
	k.auth(c)
	k.limits(c)
	for _, name := range slices.Sorted(maps.Keys(c.Upstreams)) {
		k.upstream("upstreams."+name, c.Upstreams[name])
	}
	if len(c.Groups) == 0 {
		k.Add("groups", "at least one is needed")
	}
	known := c.upstreamNames()
	for i := range c.Groups {
		k.group(fmt.Sprintf("groups[%d]", i), &c.Groups[i], known)
	}
	k.samePath(c.Groups)
	k.bodies(c)
	k.caches(c)
	k.queues(c)
	k.rollouts(c)
	return &k.Faults
}

// upstreamNames returns the names that groups and tables may use.
func (c *Config) upstreamNames() []string {
	if len(c.Upstreams) == 0 {
		return DemoVersions()
	}
	return slices.Sorted(maps.Keys(c.Upstreams))
}

func (k *checker) upstream(path string, u Upstream) {
	if len(u.Endpoints) == 0 {
		k.Add(path+".endpoints", "at least one is needed")
	}
	for i, e := range u.Endpoints {
		at := fmt.Sprintf("%s.endpoints[%d]", path, i)
		if !isEndpoint(e.URL) {
			k.Add(at+".url", "%q is not a base URL such as http://127.0.0.1:8000 or unix:/run/vllm.sock", e.URL)
		}
		if e.Weight < 0 {
			k.Add(at+".weight", "must not be negative")
		}
	}
	k.oneOf(path+".protocol", u.Protocol, "", "http1", "http2", "h2c")
	k.forwardProxy(path+".proxy", u.Proxy)
	k.connections(path+".connections", u.Connections)
	k.policy(path, u)
	k.breaker(path+".breaker", u.Breaker)
	if u.Health != nil && u.Health.Path != "" && !strings.HasPrefix(u.Health.Path, "/") {
		k.Add(path+".health.path", "%q must begin with /", u.Health.Path)
	}
	for _, name := range slices.Sorted(maps.Keys(u.Headers)) {
		if _, err := Expand(u.Headers[name]); err != nil {
			k.Add(path+".headers."+name, "%v", err)
		}
	}
}

func (k *checker) forwardProxy(path, v string) {
	if v == "" || v == "none" {
		return
	}
	v, err := Expand(v)
	if err != nil {
		k.Add(path, "%v", err)
		return
	}
	u, err := url.Parse(v)
	if err != nil || u.Host == "" || !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme) {
		k.Add(path, `must be none or a URL such as http://proxy:3128`) // without its credentials
	}
}

func (k *checker) connections(path string, c Connections) {
	if c.MaxRequests < -1 {
		k.Add(path+".max_requests", "must be -1 (unlimited) or more")
	}
	if c.MaxIdle < -1 {
		k.Add(path+".max_idle", "must be -1 (none) or more")
	}
	if c.Max < 0 {
		k.Add(path+".max", "must not be negative")
	}
}

func (k *checker) policy(path string, u Upstream) {
	k.oneOf(path+".policy", u.Policy, "", "least_request", "token_rate", "prefix_affinity", "round_robin", "hash")
	if (u.Policy == "hash") != (u.Hash != nil) {
		k.Add(path+".hash", `"policy": "hash" and "hash" go together`)
	}
	if h := u.Hash; h != nil {
		k.oneOf(path+".hash.algorithm", h.Algorithm, "", "ring", "rendezvous", "maglev")
		if h.LoadBound != 0 && h.LoadBound < 1.01 {
			k.Add(path+".hash.load_bound", "%v must be at least 1.01; without it there is no bound", h.LoadBound)
		}
		keys := 0
		for _, given := range []bool{h.Header != "", h.Body != "", h.Subject} {
			if given {
				keys++
			}
		}
		if keys != 1 {
			k.Add(path+".hash", "exactly one of header, body and subject is needed")
		}
	}
}

func (k *checker) group(path string, g *Group, known []string) {
	if !strings.HasPrefix(g.Path, "/") || strings.Contains(g.Path, "//") || strings.ContainsAny(g.Path, "*?#") {
		k.Add(path+".path", "%q must begin with / and be a plain prefix", g.Path)
	}
	for i, m := range g.Methods {
		if m == "" || m != strings.ToUpper(m) {
			k.Add(fmt.Sprintf("%s.methods[%d]", path, i), "%q is not a method such as GET", m)
		}
	}
	for i, s := range g.Stages {
		k.oneOf(fmt.Sprintf("%s.stages[%d]", path, i), s, StageIP, StageAuth, StageRouting, StageLimits, StageCache, StageStream)
	}
	if g.Stages == nil {
		g.Stages = g.configured()
	}
	k.destination(path, g, known)
	k.cors(path+".cors", g.CORS)
	if g.Proxy.Attempts < 0 || g.Proxy.Attempts > 10 {
		k.Add(path+".proxy.attempts", "must be 1 to 10")
	}
	k.reached(path, g)
	if g.Proxy.Hedge != nil && !g.Proxy.RetryPosts {
		k.Add(path+".proxy.hedge", "needs retry_posts: it sends a request twice")
	}
}

// configured returns the stages of a group that does not list any.
func (g *Group) configured() []string {
	stages := []string{StageAuth, StageStream}
	if g.IP != nil {
		stages = append(stages, StageIP)
	}
	if g.Routing != nil {
		stages = append(stages, StageRouting)
	}
	if len(g.Limits) > 0 || g.Concurrency != nil {
		stages = append(stages, StageLimits)
	}
	if g.Cache != nil {
		stages = append(stages, StageCache)
	}
	return stages
}

// destination checks where a group's requests go.
func (k *checker) destination(path string, g *Group, known []string) {
	switch {
	case g.Has(StageRouting) && g.Routing == nil:
		k.Add(path+".routing", "the stage is on and has no table")
	case g.Has(StageRouting) && len(g.Routing.Table) == 0:
		k.Add(path+".routing.table", "is missing")
	case !g.Has(StageRouting) && g.Upstream == "":
		k.Add(path+".upstream", "is needed when the routing stage is off; known: %s", strings.Join(known, ", "))
	}
	if g.Upstream != "" {
		k.oneOf(path+".upstream", g.Upstream, known...)
	}
}

func (k *checker) samePath(groups []Group) {
	for i, a := range groups {
		for _, b := range groups[:i] {
			if strings.TrimSuffix(a.Path, "/") == strings.TrimSuffix(b.Path, "/") {
				k.Add(fmt.Sprintf("groups[%d].path", i), "%q is taken by an earlier group", a.Path)
			}
		}
	}
}

func (k *checker) oneOf(path, v string, allowed ...string) {
	if !slices.Contains(allowed, v) {
		names := slices.DeleteFunc(slices.Clone(allowed), func(s string) bool { return s == "" })
		k.Add(path, "%q is unknown; known: %s", v, strings.Join(names, ", "))
	}
}

var variable = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)

// Expand replaces ${NAME} by environment variables. A variable that is not set is an error,
// so that no empty secret is ever sent.
func Expand(v string) (string, error) {
	var missing error
	out := variable.ReplaceAllStringFunc(v, func(m string) string {
		name := m[2 : len(m)-1]
		value := os.Getenv(name)
		if value == "" {
			missing = fmt.Errorf("the environment variable %s is not set", name)
		}
		return value
	})
	if missing == nil && !validHeaderValue(out) {
		missing = errors.New("the value has characters that are not allowed in a header")
	}
	return out, missing
}

func validHeaderValue(v string) bool {
	return !strings.ContainsFunc(v, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}
