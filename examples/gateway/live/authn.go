package live

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/ginfer/ginfer/auth"
	"github.com/ginfer/ginfer/examples/gateway/config"
	"github.com/ginfer/ginfer/observe/events"
)

// authn authenticates callers, with the keys that it has fetched.
type authn struct {
	one       bool // the verifier is the one token
	verifiers []auth.Verifier
	forward   *auth.Forwarder // nil: upstreams get no headers about the caller
	loops     []func(context.Context) error
}

// authentication builds what the configuration says about callers.
func (b *builder) authentication() (err error) {
	cfg := &b.Config.Auth
	b.authn, err = Keep(b.g.keeper, "auth", []any{cfg}, func() (Part[*authn], error) {
		a := b.newAuthn(cfg)
		return Part[*authn]{Value: a, Run: a.loops}, nil
	})
	return err
}

func (b *builder) newAuthn(cfg *config.Auth) *authn {
	hooks, faults := b.g.telemetry.Hooks, b.faults
	a := new(authn)
	a.keys(cfg.Keys, hooks, faults)
	for i := range cfg.JWT {
		if err := a.jwt(&cfg.JWT[i], hooks); err != nil {
			faults.AddError(fmt.Sprintf("auth.jwt[%d]", i), err)
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
		a.verifiers = []auth.Verifier{oneToken(sha256.Sum256([]byte(b.g.token)))}
	}
	if f := cfg.Forward; f != nil {
		var err error
		if a.forward, err = auth.NewForwarder(auth.ForwardConfig{
			Subject: f.Subject, Tenant: f.Tenant, Scopes: f.Scopes, Tags: f.Tags,
			Signed: f.Signed, Secret: []byte(f.Secret), Issuer: f.Issuer, Audience: f.Audience,
		}); err != nil {
			faults.AddError("auth.forward", err)
		}
	}
	return a
}

func (a *authn) add(v auth.Verifier, err error, path string, faults *config.Faults) {
	if err != nil {
		faults.AddError(path, err)
		return
	}
	a.verifiers = append(a.verifiers, v)
}

// keys adds a file of API keys.
func (a *authn) keys(file string, hooks events.Hooks, faults *config.Faults) {
	if file == "" {
		return
	}
	keys, err := auth.NewAPIKeys(auth.APIKeysConfig{File: file, OnEvent: hooks.Keys("file")})
	a.add(keys, err, "auth.keys", faults)
	if err == nil {
		a.loops = append(a.loops, keys.Run)
	}
}

// jwt adds an issuer.
func (a *authn) jwt(cfg *config.JWT, hooks events.Hooks) error {
	algorithms := cfg.Algorithms
	var keys auth.Keys
	if cfg.Secret != "" {
		secrets, err := auth.NewSecrets([]byte(cfg.Secret))
		if err != nil {
			return err
		}
		keys, algorithms = secrets, orList(algorithms, "HS256")
	} else {
		set, err := keySet(cfg, hooks)
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

// keySet fetches an issuer's public keys.
func keySet(cfg *config.JWT, hooks events.Hooks) (*auth.KeySet, error) {
	from := auth.KeySetConfig{URL: cfg.JWKS, File: cfg.KeyFile, OnEvent: hooks.Keys(cfg.Issuer)}
	if from.URL == "" && from.File == "" {
		from.Issuer = cfg.Issuer
	}
	return auth.NewKeySet(from)
}
