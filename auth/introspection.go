package auth

import (
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
)

const (
	// negativeTTL is how long a token stays known as inactive.
	negativeTTL = 5 * time.Second
	// maxLookups is how many tokens are asked for at once.
	maxLookups = 64
	// lookupWait bounds how long a request waits to ask.
	lookupWait = 5 * time.Second
)

// IntrospectionConfig describes a server that knows which tokens are active
// (RFC 7662). URL, ClientID and ClientSecret are required.
type IntrospectionConfig struct {
	// URL is the introspection endpoint. It must be https, but on a loopback
	// address.
	URL string
	// ClientID and ClientSecret authenticate the gateway there.
	ClientID, ClientSecret string
	// Audience must be among the token's, when set. Set it when the server also
	// knows tokens that are for others, such as refresh tokens. Default "": any.
	Audience string
	// Client asks, 64 tokens at once, each for 5 s at most. Redirects to another
	// server are not followed, unless its CheckRedirect says so. Default: a plain
	// one.
	Client *http.Client
	// CacheTTL is how long an active token is not asked for again, at most until
	// it expires: how long a revoked one is still good. Default 30 s; negative:
	// always asked for.
	CacheTTL time.Duration
	// CacheSize is how many active tokens are remembered, and how many others, for
	// 5 s. Default 10,000.
	CacheSize int
}

// Introspection is a [Verifier] for opaque tokens. Every Bearer token is one: let
// verifiers that know theirs, such as [JWT] and [APIKeys], come before it. Many
// requests with one token make one call. It is safe for concurrent use.
type Introspection struct {
	cfg      IntrospectionConfig
	active   *verified[*caller]
	inactive *verified[struct{}] // apart, so that made-up tokens push out no good ones
	slots    chan struct{}       // one for each call under way
	mu       sync.Mutex
	flying   map[tokenHash]*lookup
}

// lookup is a call that several requests wait for.
type lookup struct {
	done chan struct{}
	who  *caller
	err  error
}

var errInactive = fmt.Errorf("%w: not active", ErrInvalid)

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
	cfg.Client = careful(cfg.Client)
	if cfg.CacheSize == 0 {
		cfg.CacheSize = 10_000
	}
	cfg.CacheTTL = orDefault(cfg.CacheTTL, 30*time.Second)
	return &Introspection{
		cfg: cfg, active: newVerified[*caller](cfg.CacheSize), inactive: newVerified[struct{}](cfg.CacheSize),
		slots: make(chan struct{}, maxLookups), flying: map[tokenHash]*lookup{},
	}, nil
}

// Verify implements Verifier. A server that can't be asked is ErrUnavailable.
func (v *Introspection) Verify(r *http.Request) (*Identity, error) {
	who, err := v.identify(r)
	if err != nil {
		return nil, err
	}
	return who.Identity, nil
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
	if who, known, err := v.remembered(h); known {
		return who, err
	}
	return v.wait(r.Context(), token, h)
}

func (v *Introspection) remembered(h tokenHash) (who *caller, known bool, err error) {
	now := time.Now()
	if who, ok := v.active.get(h, now); ok {
		return who, true, nil
	}
	if _, ok := v.inactive.get(h, now); ok {
		return nil, true, errInactive
	}
	return nil, false, nil
}

// wait joins the call for the token, or makes it. The call goes on when the
// request that began it is cancelled: others may wait for it.
func (v *Introspection) wait(ctx context.Context, token string, h tokenHash) (*caller, error) {
	l := v.join(h)
	if l == nil {
		waiting, cancel := context.WithTimeout(ctx, lookupWait)
		defer cancel()
		select {
		case v.slots <- struct{}{}:
		case <-waiting.Done():
			return nil, fmt.Errorf("%w: waiting to ask: %w", ErrUnavailable, waiting.Err())
		}
		l = v.begin(ctx, token, h)
	}
	select {
	case <-l.done:
		return l.who, l.err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
}

func (v *Introspection) join(h tokenHash) *lookup {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.flying[h]
}

// begin makes the call, unless somebody else did while this one waited for the
// slot that it has.
func (v *Introspection) begin(ctx context.Context, token string, h tokenHash) *lookup {
	v.mu.Lock()
	defer v.mu.Unlock()
	if l := v.flying[h]; l != nil {
		<-v.slots
		return l
	}
	l := &lookup{done: make(chan struct{})}
	var known bool
	if l.who, known, l.err = v.remembered(h); known {
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
		// The client may be the user's own. What it panics with may hold the token.
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
		l.who = newCaller(id)
		v.remember(h, l.who, now)
	}
}

func (v *Introspection) remember(h tokenHash, who *caller, now time.Time) {
	until := now.Add(v.cfg.CacheTTL)
	if !who.Expires.IsZero() && who.Expires.Before(until) {
		until = who.Expires
	}
	if until.After(now) {
		v.active.put(h, who, until, now)
	}
}

// call asks the server.
func (v *Introspection) call(ctx context.Context, token string) (*Identity, error) {
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, v.cfg.URL, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, errors.New("not a URL")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(url.QueryEscape(v.cfg.ClientID), url.QueryEscape(v.cfg.ClientSecret))
	text, err := document(v.cfg.Client, req)
	if err != nil {
		return nil, err
	}
	var answer map[string]any
	if err := errors.Join(json.Unmarshal(text, &answer), unique(text)); err != nil {
		return nil, errors.New("the answer is not JSON")
	}
	return v.identity(answer)
}

// identity reads an answer (RFC 7662 §2.2). An error that is not ErrInvalid means
// that it can't be understood.
func (v *Introspection) identity(answer map[string]any) (*Identity, error) {
	active, ok := answer["active"].(bool)
	if !ok {
		return nil, errors.New(`the answer has no "active"`)
	}
	if !active {
		return nil, errInactive
	}
	id, err := identityOf(answer)
	if err != nil {
		return nil, err
	}
	if id.Subject == "" { // a machine's own token
		if id.Subject, err = stringOf(answer, "client_id"); err != nil {
			return nil, err
		}
	}
	if id.Issuer == "" { // names of two servers must not meet
		id.Issuer = v.cfg.URL
	}
	id.Method = "introspection"
	if id.Expires, err = v.checkAnswer(answer); err != nil {
		return nil, err
	}
	return id, id.check()
}

// checkAnswer is careful about what a server may leave to the asker.
func (v *Introspection) checkAnswer(answer map[string]any) (expires time.Time, err error) {
	now := time.Now()
	expires, has, err := timeOf(answer, "exp")
	if err != nil {
		return expires, err
	}
	if has && !now.Before(expires) {
		return expires, fmt.Errorf("%w: expired", ErrInvalid)
	}
	from, has, err := timeOf(answer, "nbf")
	if err != nil {
		return expires, err
	}
	if has && now.Before(from) {
		return expires, fmt.Errorf("%w: not yet valid", ErrInvalid)
	}
	kind, err := stringOf(answer, "token_type")
	if err != nil {
		return expires, err
	}
	if kind != "" && !strings.EqualFold(kind, "Bearer") {
		return expires, fmt.Errorf("%w: not a Bearer token", ErrInvalid)
	}
	if v.cfg.Audience != "" && !hasAudience(answer["aud"], v.cfg.Audience) {
		return expires, fmt.Errorf("%w: for another audience", ErrInvalid)
	}
	return expires, nil
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
