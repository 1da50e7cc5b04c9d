package auth

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// negativeTTL is how long a token stays known as inactive.
const negativeTTL = 5 * time.Second

// maxToken is the longest token, in bytes, that is looked at.
const maxToken = 8 << 10

// IntrospectionConfig describes a server that knows which tokens are active
// (RFC 7662). URL, ClientID and ClientSecret are required.
type IntrospectionConfig struct {
	// URL is the introspection endpoint. It must be https, but on a loopback
	// address.
	URL string
	// ClientID and ClientSecret authenticate the gateway there.
	ClientID, ClientSecret string
	// Audience must be among the token's, when set. Default "": any.
	Audience string
	// Client asks. Default: one with a timeout of 5 s.
	Client *http.Client
	// CacheTTL is how long an active token is not asked for again, at most until
	// it expires. Default 30 s; negative: always asked for.
	CacheTTL time.Duration
	// CacheSize is how many tokens are remembered. Default 10,000.
	CacheSize int
}

// Introspection is a [Verifier] for opaque tokens. Many requests with one token
// make one call. It is safe for concurrent use.
type Introspection struct {
	cfg    IntrospectionConfig
	cache  *verified[*Identity] // nil: the token is not active
	mu     sync.Mutex
	flying map[tokenHash]*lookup
}

// lookup is a call that several requests wait for.
type lookup struct {
	done chan struct{}
	id   *Identity
	err  error
}

// NewIntrospection checks cfg and returns a verifier.
func NewIntrospection(cfg IntrospectionConfig) (*Introspection, error) {
	var faults []error
	if err := checkAddress(cfg.URL); err != nil {
		faults = append(faults, fmt.Errorf("auth: IntrospectionConfig.URL: %w", err))
	}
	if cfg.ClientID == "" || cfg.ClientSecret == "" {
		faults = append(faults, errors.New("auth: IntrospectionConfig needs ClientID and ClientSecret"))
	}
	if cfg.CacheSize < 0 {
		faults = append(faults, errors.New("auth: IntrospectionConfig.CacheSize is negative"))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	if cfg.Client == nil {
		cfg.Client = &http.Client{Timeout: 5 * time.Second}
	}
	if cfg.CacheSize == 0 {
		cfg.CacheSize = 10_000
	}
	cfg.CacheTTL = orDefault(cfg.CacheTTL, 30*time.Second)
	return &Introspection{cfg: cfg, cache: newVerified[*Identity](cfg.CacheSize), flying: map[tokenHash]*lookup{}}, nil
}

// Verify implements Verifier. A server that can't be asked is ErrUnavailable.
func (v *Introspection) Verify(r *http.Request) (*Identity, error) {
	token, err := Bearer(r)
	if err != nil {
		return nil, err
	}
	if len(token) > maxToken {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrInvalid, maxToken)
	}
	h := tokenHash(sha256.Sum256([]byte(token)))
	if id, ok := v.cache.get(h, time.Now()); ok {
		return known(id)
	}
	return v.ask(r.Context(), token, h)
}

func known(id *Identity) (*Identity, error) {
	if id == nil {
		return nil, fmt.Errorf("%w: not active", ErrInvalid)
	}
	return id, nil
}

// ask joins the call for the token, or makes it. The call goes on when the
// request that began it is cancelled: others may wait for it.
func (v *Introspection) ask(ctx context.Context, token string, h tokenHash) (*Identity, error) {
	v.mu.Lock()
	l, joined := v.flying[h]
	if !joined {
		l = &lookup{done: make(chan struct{})}
		v.flying[h] = l
		go v.lookUp(context.WithoutCancel(ctx), l, token, h)
	}
	v.mu.Unlock()
	select {
	case <-l.done:
		return l.id, l.err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
}

func (v *Introspection) lookUp(ctx context.Context, l *lookup, token string, h tokenHash) {
	defer close(l.done)
	defer func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		delete(v.flying, h)
	}()
	id, err := v.call(ctx, token)
	if err != nil {
		l.err = fmt.Errorf("%w: %w", ErrUnavailable, err)
		return
	}
	l.id, l.err = known(id)
	v.remember(h, id)
}

func (v *Introspection) remember(h tokenHash, id *Identity) {
	now := time.Now()
	if id == nil {
		v.cache.put(h, nil, now.Add(negativeTTL), now)
		return
	}
	if v.cfg.CacheTTL < 0 {
		return
	}
	until := now.Add(v.cfg.CacheTTL)
	if !id.Expires.IsZero() && id.Expires.Before(until) {
		until = id.Expires
	}
	v.cache.put(h, id, until, now)
}

// answer is what RFC 7662 §2.2 defines, as far as it is used.
type answer struct {
	Active   bool   `json:"active"`
	Scope    string `json:"scope"`
	ClientID string `json:"client_id"`
	Subject  string `json:"sub"`
	Issuer   string `json:"iss"`
	Tenant   string `json:"tenant"`
	Expires  int64  `json:"exp"`
	NotUntil int64  `json:"nbf"`
	Audience any    `json:"aud"`
	Tags     []string
	Models   []string
}

// call asks the server; nil without an error means "not active".
func (v *Introspection) call(ctx context.Context, token string) (*Identity, error) {
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, v.cfg.URL, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.SetBasicAuth(url.QueryEscape(v.cfg.ClientID), url.QueryEscape(v.cfg.ClientSecret))
	res, err := v.cfg.Client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d", res.StatusCode)
	}
	var a answer
	if err := json.NewDecoder(io.LimitReader(res.Body, maxDocument)).Decode(&a); err != nil {
		return nil, err
	}
	return v.identity(&a), nil
}

func (v *Introspection) identity(a *answer) *Identity {
	now := time.Now()
	id := &Identity{Subject: a.Subject, Issuer: a.Issuer, Tenant: a.Tenant, Scopes: strings.Fields(a.Scope), Tags: a.Tags, Models: a.Models, Method: "introspection"}
	if id.Subject == "" {
		id.Subject = a.ClientID // a machine's own token
	}
	if a.Expires > 0 {
		id.Expires = time.Unix(a.Expires, 0)
	}
	switch {
	case !a.Active, id.Subject == "",
		a.Expires > 0 && !now.Before(id.Expires),
		a.NotUntil > 0 && now.Before(time.Unix(a.NotUntil, 0)),
		v.cfg.Audience != "" && !hasAudience(a.Audience, v.cfg.Audience):
		return nil
	}
	return id
}

// hasAudience looks in a string or a list of them (RFC 7519 §4.1.3).
func hasAudience(aud any, want string) bool {
	switch aud := aud.(type) {
	case string:
		return aud == want
	case []any:
		return slices.Contains(aud, any(want))
	}
	return false
}
