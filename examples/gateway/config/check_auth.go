package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// auth finds the faults of authentication that are visible without files and servers;
// the rest are found when the parts are built.
func (k *checker) auth(c *Config) {
	if c.Auth.Certificates && (c.Public.TLS == nil || c.Public.TLS.ClientCA == "") {
		k.Add("auth.certificates", "needs public.tls.client_ca")
	}
	for i := range c.Auth.JWT {
		j := &c.Auth.JWT[i]
		at := fmt.Sprintf("auth.jwt[%d]", i)
		sources := 0
		for _, s := range []string{j.JWKS, j.KeyFile, j.Secret} {
			if s != "" {
				sources++
			}
		}
		if sources > 1 {
			k.Add(at, "only one of jwks, key_file and secret can be set")
		}
		k.secret(at+".secret", &j.Secret)
	}
	if in := c.Auth.Introspection; in != nil {
		k.secret("auth.introspection.client_secret", &in.ClientSecret)
	}
	if f := c.Auth.Forward; f != nil {
		k.secret("auth.forward.secret", &f.Secret)
	}
}

// secret replaces ${NAME} by environment variables.
func (k *checker) secret(path string, v *string) {
	out, err := Expand(*v)
	if err != nil {
		k.Add(path, "%v", err)
		return
	}
	*v = out
}

func (k *checker) limits(c *Config) {
	for _, name := range slices.Sorted(maps.Keys(c.Limits)) {
		k.limit("limits."+name, c.Limits[name])
	}
	for i := range c.Groups {
		g := &c.Groups[i]
		for j, name := range g.Limits {
			at := fmt.Sprintf("groups[%d].limits[%d]", i, j)
			limit, ok := c.Limits[name]
			switch {
			case !ok:
				k.Add(at, "%q is unknown; known: %s", name, strings.Join(slices.Sorted(maps.Keys(c.Limits)), ", "))
			case slices.Contains(g.Limits[:j], name):
				k.Add(at, "%q is named twice", name)
			case limit.needsIdentity() && g.Stages != nil && !g.Has(StageAuth):
				k.Add(at, "%q depends on the caller, and the auth stage is off", name)
			}
		}
		if g.Wait != nil && g.Wait.Max <= 0 {
			k.Add(fmt.Sprintf("groups[%d].wait.max", i), "must be above 0")
		}
	}
	k.redis(c.Redis)
}

func (k *checker) limit(path string, l Limit) {
	k.oneOf(path+".unit", l.Unit, "requests", "tokens")
	if name, ok := strings.CutPrefix(l.By, "header:"); !ok || name == "" {
		if !slices.Contains([]string{"subject", "tenant", "ip", "everybody"}, l.By) {
			k.Add(path+".by", "%q is unknown; known: subject, tenant, ip, everybody, header:NAME", l.By)
		}
	}
	switch {
	case (l.Rate == 0) == (l.Budget == 0):
		k.Add(path, "either rate or budget is needed")
	case l.Budget == 0 && l.Period != "", l.Budget != 0 && l.Burst != 0:
		k.Add(path, "period goes with budget, burst with rate")
	case l.Budget != 0:
		k.oneOf(path+".period", l.Period, "day", "month")
	}
	if l.Budget < 0 || l.Burst < 0 {
		k.Add(path, "burst and budget must not be negative")
	}
}

func (k *checker) redis(r *Redis) {
	if r == nil {
		return
	}
	if len(r.Addresses) == 0 {
		k.Add("redis.addresses", "at least one is needed")
	}
	for i, a := range r.Addresses {
		_ = k.address(fmt.Sprintf("redis.addresses[%d]", i), a, "")
	}
	k.oneOf("redis.failure_mode", r.FailureMode, "", "local_share", "fail_closed", "fail_open")
	if r.Replicas < 1 && (r.FailureMode == "" || r.FailureMode == "local_share") {
		k.Add("redis.replicas", "how many gateways share the limits is needed")
	}
	k.secret("redis.password", &r.Password)
}
