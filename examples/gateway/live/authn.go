package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/ginfer/ginfer/auth"
)

// authn knows callers. It outlives a reload that does not change it, with the keys
// it has fetched.
type authn struct {
	key       string // what it was made of
	one       bool   // it is the one token
	verifiers []auth.Verifier
	forward   *auth.Forwarder // nil: upstreams are told nothing
	loops     []func(context.Context) error
	stop      context.CancelFunc
}

// keepAuthn makes what a configuration says, or returns what is at work when that
// is the same.
func (g *gateway) keepAuthn(cfg *Auth, faults *checker) *authn {
	key, _ := json.Marshal(cfg) // a struct of strings
	if g.authn != nil && g.authn.key == string(key) {
		return g.authn
	}
	a := &authn{key: string(key)}
	a.keys(cfg.Keys, g, faults)
	for i := range cfg.JWT {
		if err := a.jwt(&cfg.JWT[i], g); err != nil {
			faults.addAll(fmt.Sprintf("auth.jwt[%d]", i), err)
		}
	}
	if in := cfg.Introspection; in != nil {
		v, err := auth.NewIntrospection(auth.IntrospectionConfig{
			URL: in.URL, ClientID: in.ClientID, ClientSecret: in.ClientSecret, Audience: in.Audience, CacheTTL: time.Duration(in.CacheTTL),
		})
		a.add(v, err, "auth.introspection", faults)
	}
	if cfg.Certificates {
		v, err := auth.NewMTLS(auth.MTLSConfig{})
		a.add(v, err, "auth.certificates", faults)
	}
	if a.one = len(a.verifiers) == 0; a.one {
		a.verifiers = []auth.Verifier{oneToken(sha256.Sum256([]byte(g.token)))}
	}
	if f := cfg.Forward; f != nil {
		var err error
		if a.forward, err = auth.NewForwarder(auth.ForwardConfig{
			Subject: f.Subject, Tenant: f.Tenant, Scopes: f.Scopes, Tags: f.Tags,
			Signed: f.Signed, Secret: []byte(f.Secret), Issuer: f.Issuer, Audience: f.Audience,
		}); err != nil {
			faults.addAll("auth.forward", err)
		}
	}
	return a
}

func (a *authn) add(v auth.Verifier, err error, path string, faults *checker) {
	if err != nil {
		faults.addAll(path, err)
		return
	}
	a.verifiers = append(a.verifiers, v)
}

// keys adds a file of API keys.
func (a *authn) keys(file string, g *gateway, faults *checker) {
	if file == "" {
		return
	}
	keys, err := auth.NewAPIKeys(auth.APIKeysConfig{File: file, OnEvent: g.hooks.KeyFile})
	a.add(keys, err, "auth.keys", faults)
	if err == nil {
		a.loops = append(a.loops, keys.Run)
	}
}

// jwt adds an issuer.
func (a *authn) jwt(cfg *JWT, g *gateway) error {
	algorithms := cfg.Algorithms
	var keys auth.Keys
	if cfg.Secret != "" {
		secrets, err := auth.NewSecrets([]byte(cfg.Secret))
		if err != nil {
			return err
		}
		keys, algorithms = secrets, orList(algorithms, "HS256")
	} else {
		set, err := g.keySet(cfg)
		if err != nil {
			return err
		}
		a.loops = append(a.loops, set.Run)
		keys, algorithms = set, orList(algorithms, "RS256", "PS256", "ES256", "EdDSA")
	}
	v, err := auth.NewJWT(auth.JWTConfig{Keys: keys, Algorithms: algorithms, Issuer: cfg.Issuer, Audience: cfg.Audience})
	if err != nil {
		return err
	}
	a.verifiers = append(a.verifiers, v)
	return nil
}

func orList(list []string, def ...string) []string {
	if len(list) == 0 {
		return def
	}
	return list
}

// keySet is where an issuer's public keys come from.
func (g *gateway) keySet(cfg *JWT) (*auth.KeySet, error) {
	from := auth.KeySetConfig{URL: cfg.JWKS, File: cfg.KeyFile, OnEvent: g.hooks.KeySet(cfg.Issuer)}
	if from.URL == "" && from.File == "" {
		from.Issuer = cfg.Issuer
	}
	return auth.NewKeySet(from)
}

// start begins to fetch keys and to watch files.
func (a *authn) start(ctx context.Context) {
	loop, stop := context.WithCancel(context.WithoutCancel(ctx))
	a.stop = stop
	for _, run := range a.loops {
		go func() { _ = run(loop) }() // ends with its context, without another error
	}
}

// hideCredential keeps what callers prove themselves with from the upstreams.
func hideCredential(out *http.Request) {
	out.Header.Del("Authorization")
	out.Header.Del("X-Api-Key")
	out.Header.Del("Api-Key")
	out.Header.Del("X-Goog-Api-Key")
}
