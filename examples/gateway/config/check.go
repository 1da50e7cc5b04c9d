package main

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/ginfer/ginfer/routing"
)

// checker collects the faults of a configuration.
type checker struct{ faults []fault }

func (k *checker) add(path, format string, args ...any) {
	k.faults = append(k.faults, fault{path: path, reason: fmt.Sprintf(format, args...)})
}

// addAll adds every fault that a part found, those of a table with their place
// in it.
func (k *checker) addAll(path string, err error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range joined.Unwrap() {
			k.addAll(path, one)
		}
		return
	}
	if f, ok := errors.AsType[*routing.FaultError](err); ok {
		k.add(strings.TrimSuffix(path+".routing.table."+f.Path, "."), "%s", f.Reason)
		return
	}
	k.add(path, "%v", err)
}

// check finds the faults that can be told without building anything, and
// fills in defaults.
func (c *Config) check() []fault {
	k := new(checker)
	c.Public.Address = k.address("public.address", c.Public.Address, "127.0.0.1:8080")
	c.Private.Address = k.address("private.address", c.Private.Address, "127.0.0.1:9090")
	for i, cidr := range c.TrustedProxies {
		if _, err := netip.ParsePrefix(cidr); err != nil {
			k.add(fmt.Sprintf("trusted_proxies[%d]", i), "%q is not a CIDR range such as 10.0.0.0/8", cidr)
		}
	}
	if m := c.Memory; m.LimitPercent < -1 || m.LimitPercent > 100 || m.GOGC < -1 || m.BodyBudget < 0 || !(m.BodyShare >= 0 && m.BodyShare <= 1) {
		k.add("memory", "limit_percent is 1 to 100 or -1, gogc is positive or -1, body_budget is positive, body_share is above 0 and at most 1")
	}
	if c.Memory.GOGC == -1 && c.Memory.LimitPercent == -1 {
		k.add("memory", "gogc -1 needs a limit: nothing would ever be collected")
	}
	k.auth(c)
	k.limits(c)
	for _, name := range slices.Sorted(maps.Keys(c.Upstreams)) {
		k.upstream("upstreams."+name, c.Upstreams[name])
	}
	if len(c.Groups) == 0 {
		k.add("groups", "at least one is needed")
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
	return k.faults
}

// upstreamNames are the names that groups and tables may use.
func (c *Config) upstreamNames() []string {
	if len(c.Upstreams) == 0 {
		return demoVersions()
	}
	return slices.Sorted(maps.Keys(c.Upstreams))
}

func (k *checker) address(path, v, def string) string {
	if v == "" {
		return def
	}
	if _, _, err := net.SplitHostPort(v); err != nil {
		k.add(path, "%q is not host:port", v)
	}
	return v
}

func (k *checker) upstream(path string, u Upstream) {
	if len(u.Endpoints) == 0 {
		k.add(path+".endpoints", "at least one is needed")
	}
	for i, e := range u.Endpoints {
		at := fmt.Sprintf("%s.endpoints[%d]", path, i)
		v, err := url.Parse(e.URL)
		if err != nil || v.Scheme != "http" && v.Scheme != "https" || v.Host == "" || v.RawQuery != "" || v.User != nil {
			k.add(at+".url", "%q is not a base URL such as http://127.0.0.1:8000", e.URL)
		}
		if e.Weight < 0 {
			k.add(at+".weight", "must not be negative")
		}
	}
	k.oneOf(path+".protocol", u.Protocol, "", "http1", "http2", "h2c")
	k.policy(path, u)
	k.breaker(path+".breaker", u.Breaker)
	if u.Health != nil && u.Health.Path != "" && !strings.HasPrefix(u.Health.Path, "/") {
		k.add(path+".health.path", "%q must begin with /", u.Health.Path)
	}
	for _, name := range slices.Sorted(maps.Keys(u.Headers)) {
		if _, err := expand(u.Headers[name]); err != nil {
			k.add(path+".headers."+name, "%v", err)
		}
	}
}

func (k *checker) policy(path string, u Upstream) {
	k.oneOf(path+".policy", u.Policy, "", "least_request", "cadence", "conversations", "round_robin", "hash")
	if (u.Policy == "hash") != (u.Hash != nil) {
		k.add(path+".hash", `"policy": "hash" and "hash" go together`)
	}
	if h := u.Hash; h != nil {
		k.oneOf(path+".hash.algorithm", h.Algorithm, "", "ring", "rendezvous", "maglev")
		keys := 0
		for _, given := range []bool{h.Header != "", h.Body != "", h.Subject} {
			if given {
				keys++
			}
		}
		if keys != 1 {
			k.add(path+".hash", "exactly one of header, body and subject is needed")
		}
	}
}

func (k *checker) group(path string, g *Group, known []string) {
	if !strings.HasPrefix(g.Path, "/") || strings.Contains(g.Path, "//") || strings.ContainsAny(g.Path, "*?#") {
		k.add(path+".path", "%q must begin with / and be a plain prefix", g.Path)
	}
	for i, m := range g.Methods {
		if m == "" || m != strings.ToUpper(m) {
			k.add(fmt.Sprintf("%s.methods[%d]", path, i), "%q is not a method such as GET", m)
		}
	}
	for i, s := range g.Stages {
		k.oneOf(fmt.Sprintf("%s.stages[%d]", path, i), s, stageIP, stageAuth, stageRouting, stageLimits, stageCache, stageStream)
	}
	if g.Stages == nil {
		g.Stages = g.configured()
	}
	k.destination(path, g, known)
	k.cors(path+".cors", g.CORS)
	if g.Proxy.Tries < 0 || g.Proxy.Tries > 10 {
		k.add(path+".proxy.tries", "must be 1 to 10")
	}
	k.reached(path, g)
	if g.Proxy.Hedge != nil && !g.Proxy.RetryPosts {
		k.add(path+".proxy.hedge", "needs retry_posts: it sends a request twice")
	}
}

// configured are the stages of a group that does not name any.
func (g *Group) configured() []string {
	stages := []string{stageAuth, stageStream}
	if g.IP != nil {
		stages = append(stages, stageIP)
	}
	if g.Routing != nil {
		stages = append(stages, stageRouting)
	}
	if len(g.Limits) > 0 || g.Concurrency != nil {
		stages = append(stages, stageLimits)
	}
	if g.Cache != nil {
		stages = append(stages, stageCache)
	}
	return stages
}

// destination checks where a group's requests go.
func (k *checker) destination(path string, g *Group, known []string) {
	switch {
	case g.has(stageRouting) && g.Routing == nil:
		k.add(path+".routing", "the stage is on and has no table")
	case g.has(stageRouting) && len(g.Routing.Table) == 0:
		k.add(path+".routing.table", "is missing")
	case !g.has(stageRouting) && g.Upstream == "":
		k.add(path+".upstream", "is needed when the routing stage is off; known: %s", strings.Join(known, ", "))
	}
	if g.Upstream != "" {
		k.oneOf(path+".upstream", g.Upstream, known...)
	}
}

func (k *checker) samePath(groups []Group) {
	for i, a := range groups {
		for _, b := range groups[:i] {
			if strings.TrimSuffix(a.Path, "/") == strings.TrimSuffix(b.Path, "/") {
				k.add(fmt.Sprintf("groups[%d].path", i), "%q is taken by an earlier group", a.Path)
			}
		}
	}
}

func (k *checker) oneOf(path, v string, allowed ...string) {
	if !slices.Contains(allowed, v) {
		names := slices.DeleteFunc(slices.Clone(allowed), func(s string) bool { return s == "" })
		k.add(path, "%q is unknown; known: %s", v, strings.Join(names, ", "))
	}
}

func (g *Group) has(stage string) bool { return slices.Contains(g.Stages, stage) }

var variable = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)

// expand puts environment variables in place of ${NAME}. One that is not set
// is a fault: an empty secret would be sent as if it were one.
func expand(v string) (string, error) {
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
		missing = errors.New("the value has characters that a header can't have")
	}
	return out, missing
}

func validHeaderValue(v string) bool {
	return !strings.ContainsFunc(v, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

// allowed answers a method that a group does not let in.
func (g *Group) allowed(method string) bool {
	return len(g.Methods) == 0 || slices.Contains(g.Methods, method) || method == http.MethodHead && slices.Contains(g.Methods, http.MethodGet)
}
