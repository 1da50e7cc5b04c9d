package auth

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ginfer/ginfer/internal/fault"
)

const (
	// negativeTTL is how long an inactive token is cached.
	negativeTTL = 5 * time.Second
	// maxLookups is the largest number of concurrent look-ups.
	maxLookups = 64
	// lookupWait bounds how long a request waits for one of them.
	lookupWait = 5 * time.Second
)

// IntrospectionConfig configures an Introspection. URL, ClientID and ClientSecret are
// required.
type IntrospectionConfig struct {
	// URL is the introspection endpoint (RFC 7662). It must be https, except on a loopback
	// address. Required.
	URL string
	// ClientID and ClientSecret are the gateway's credentials at the endpoint. Required.
	ClientID, ClientSecret string
	// Audience must be among the token's "aud". Set it when the server also issues tokens
	// for other audiences, such as refresh tokens. Default: any audience.
	Audience string
	// Client sends the look-ups: at most 64 concurrently, each for at most 5 s. It follows
	// no redirect to another server unless it has a CheckRedirect. Default: a zero
	// http.Client.
	Client *http.Client
	// CacheTTL is how long an active token is cached, at most until it expires; a revoked
	// token stays accepted for that long. Default: 30 s; negative: not cached.
	CacheTTL time.Duration
	// CacheSize is the maximum number of cached active tokens, and of other tokens, which
	// are cached for 5 s. Default: 10,000.
	CacheSize int
}

// Introspection is a [Verifier] of opaque tokens that queries their issuer (RFC 7662). It
// takes every Bearer token: put verifiers that recognize theirs, such as [JWT] and
// [APIKeys], before it. Concurrent requests with one token share a look-up. It is safe for
// concurrent use.
type Introspection struct {
	cfg      IntrospectionConfig
	active   *verified[*caller]
	inactive *verified[struct{}] // separate, so that made-up tokens evict no active ones
	slots    chan struct{}       // one for each look-up under way
	mu       sync.Mutex
	flying   map[tokenHash]*lookup
}

// lookup is a look-up that several requests may wait for.
type lookup struct {
	done   chan struct{}
	caller *caller
	err    error
}

var errInactive = fmt.Errorf("%w: not active", ErrInvalid)

// NewIntrospection checks cfg and returns an Introspection. The error joins every fault.
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
	if err := fault.Join(faults...); err != nil {
		return nil, err
	}
	cfg.Client = careful(cfg.Client)
	if cfg.CacheSize == 0 {
		cfg.CacheSize = 10_000
	}
	cfg.CacheTTL = cmp.Or(cfg.CacheTTL, 30*time.Second)
	return &Introspection{
		cfg: cfg, active: newVerified[*caller](cfg.CacheSize), inactive: newVerified[struct{}](cfg.CacheSize),
		slots: make(chan struct{}, maxLookups), flying: map[tokenHash]*lookup{},
	}, nil
}

// Verify implements Verifier. An unreachable server is ErrUnavailable.
func (v *Introspection) Verify(r *http.Request) (*Identity, error) {
	caller, err := v.identify(r)
	if err != nil {
		return nil, err
	}
	return caller.Identity, nil
}

func (v *Introspection) identify(r *http.Request) (*caller, error) {
	token, err := Bearer(r)
	if err != nil {
		return nil, err
	}
	if len(token) > maxToken {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrInvalid, maxToken)
	}
	h := hashOf(token)
	if caller, known, err := v.cached(h); known {
		return caller, err
	}
	return v.wait(r.Context(), token, h)
}

func (v *Introspection) cached(h tokenHash) (caller *caller, known bool, err error) {
	now := time.Now()
	if caller, ok := v.active.get(h, now); ok {
		return caller, true, nil
	}
	if _, ok := v.inactive.get(h, now); ok {
		return nil, true, errInactive
	}
	return nil, false, nil
}

// wait joins the look-up of the token, or starts one. The look-up continues when the
// request that started it is canceled, because others may wait for it.
func (v *Introspection) wait(ctx context.Context, token string, h tokenHash) (*caller, error) {
	l := v.join(h)
	if l == nil {
		waiting, cancel := context.WithTimeout(ctx, lookupWait)
		defer cancel()
		select {
		case v.slots <- struct{}{}:
		case <-waiting.Done():
			return nil, fmt.Errorf("%w: waiting for a look-up: %w", ErrUnavailable, waiting.Err())
		}
		l = v.begin(ctx, token, h)
	}
	select {
	case <-l.done:
		return l.caller, l.err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
}

func (v *Introspection) join(h tokenHash) *lookup {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.flying[h]
}

// begin starts the look-up, unless another request did while this one waited for its slot.
func (v *Introspection) begin(ctx context.Context, token string, h tokenHash) *lookup {
	v.mu.Lock()
	defer v.mu.Unlock()
	if l := v.flying[h]; l != nil {
		<-v.slots
		return l
	}
	l := &lookup{done: make(chan struct{})}
	var known bool
	if l.caller, known, l.err = v.cached(h); known {
		<-v.slots
		close(l.done)
		return l
	}
	v.flying[h] = l
	go v.lookUp(context.WithoutCancel(ctx), l, token, h)
	return l
}

func (v *Introspection) lookUp(ctx context.Context, l *lookup, token string, h tokenHash) {
	defer func() {
		// The client may be the user's own. Its panic value may contain the token.
		if p := recover(); p != nil {
			l.err = fmt.Errorf("%w: the client panicked with a %T", ErrUnavailable, p)
		}
		v.mu.Lock()
		delete(v.flying, h)
		v.mu.Unlock()
		<-v.slots
		close(l.done)
	}()
	id, err := v.call(ctx, token)
	switch now := time.Now(); {
	case errors.Is(err, ErrInvalid):
		l.err = err
		v.inactive.put(h, struct{}{}, now.Add(negativeTTL), now)
	case err != nil:
		l.err = fmt.Errorf("%w: introspection: %w", ErrUnavailable, err)
	default:
		l.caller = newCaller(id)
		v.store(h, l.caller, now)
	}
}

func (v *Introspection) store(h tokenHash, caller *caller, now time.Time) {
	until := now.Add(v.cfg.CacheTTL)
	if !caller.Expires.IsZero() && caller.Expires.Before(until) {
		until = caller.Expires
	}
	if until.After(now) {
		v.active.put(h, caller, until, now)
	}
}

// call sends the look-up.
func (v *Introspection) call(ctx context.Context, token string) (*Identity, error) {
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, v.cfg.URL, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, errors.New("not a URL")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header["Idempotency-Key"] = nil // not sent: http.Transport then repeats it if an idle connection was just closed
	req.SetBasicAuth(url.QueryEscape(v.cfg.ClientID), url.QueryEscape(v.cfg.ClientSecret))
	text, err := document(v.cfg.Client, req)
	if err != nil {
		return nil, err
	}
	var response map[string]any
	if err := fault.Join(json.Unmarshal(text, &response), unique(text)); err != nil {
		return nil, errors.New("the response is not JSON")
	}
	return v.identity(response)
}

// identity reads a response (RFC 7662 §2.2). Errors other than ErrInvalid mean that it
// can't be understood.
func (v *Introspection) identity(response map[string]any) (*Identity, error) {
	active, ok := response["active"].(bool)
	if !ok {
		return nil, errors.New(`the response has no "active"`)
	}
	if !active {
		return nil, errInactive
	}
	id, err := identityOf(response)
	if err != nil {
		return nil, err
	}
	if id.Subject == "" { // a client credentials token
		if id.Subject, err = stringOf(response, "client_id"); err != nil {
			return nil, err
		}
	}
	if id.Issuer == "" { // subjects of two servers must not collide
		id.Issuer = v.cfg.URL
	}
	id.Method = "introspection"
	if id.Expires, err = v.checkResponse(response); err != nil {
		return nil, err
	}
	return id, id.check()
}

// checkResponse checks what a server may leave to its client.
func (v *Introspection) checkResponse(response map[string]any) (expires time.Time, err error) {
	now := time.Now()
	expires, has, err := timeOf(response, "exp")
	if err != nil {
		return expires, err
	}
	if has && !now.Before(expires) {
		return expires, fmt.Errorf("%w: expired", ErrInvalid)
	}
	from, has, err := timeOf(response, "nbf")
	if err != nil {
		return expires, err
	}
	if has && now.Before(from) {
		return expires, fmt.Errorf("%w: not yet valid", ErrInvalid)
	}
	kind, err := stringOf(response, "token_type")
	if err != nil {
		return expires, err
	}
	if kind != "" && !strings.EqualFold(kind, "Bearer") {
		return expires, fmt.Errorf("%w: not a Bearer token", ErrInvalid)
	}
	if v.cfg.Audience != "" && !hasAudience(response["aud"], v.cfg.Audience) {
		return expires, fmt.Errorf("%w: for another audience", ErrInvalid)
	}
	return expires, nil
}

// hasAudience reports whether aud, a string or a list (RFC 7519 §4.1.3), contains want.
func hasAudience(aud any, want string) bool {
	switch aud := aud.(type) {
	case string:
		return aud == want
	case []any:
		return slices.Contains(aud, any(want))
	}
	return false
}
