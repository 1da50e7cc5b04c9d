package auth

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/body"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/ginctx"
)

// Identity is the verified caller of a request. It is shared: do not modify it.
type Identity struct {
	// Subject is the caller's name, unique within Issuer. It is never empty.
	Subject string
	// Issuer is the authority that vouches for Subject.
	Issuer string
	// Tenant is the customer or team of the caller; "" if unknown.
	Tenant string
	// Scopes are the permissions of the caller, Tags its labels.
	Scopes, Tags []string
	// Models are the models that the caller may use: names, or prefixes that end in "*".
	// Nil means all.
	Models []string
	// Expires is when the credential expires; zero means never.
	Expires time.Time
	// Method is the kind of credential: "jwt", "apikey", "introspection" or "mtls".
	Method string
}

// HasScopes reports whether the identity has all of the scopes.
func (id *Identity) HasScopes(scopes ...string) bool {
	for _, s := range scopes {
		if !slices.Contains(id.Scopes, s) {
			return false
		}
	}
	return true
}

// check refuses an identity without a subject, and names that could forge a log line, a
// header, or another caller's key.
func (id *Identity) check() error {
	if id == nil || id.Subject == "" {
		return fmt.Errorf("%w: no subject", ErrInvalid)
	}
	if !isPlain(id.Subject) || !isPlain(id.Issuer) || !isPlain(id.Tenant) {
		return fmt.Errorf("%w: a control character in a name", ErrInvalid)
	}
	return nil
}

// isPlain reports whether s has no control characters.
func isPlain(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 })
}

// caller is an identity with its keys, which are built once per cached credential instead
// of once per request.
type caller struct {
	*Identity
	subject, tenant string
}

// newCaller builds the keys. Names have no control characters, so that the keys of two
// callers, or of a caller and a tenant, never collide.
func newCaller(id *Identity) *caller {
	c := &caller{Identity: id, subject: id.Issuer + "\x00" + id.Subject}
	c.tenant = c.subject
	if id.Tenant != "" {
		c.tenant = "\x00\x00" + id.Tenant
	}
	return c
}

// contextKey is the key under which the stages that store bodies find their owner.
type contextKey = body.IdentityKey

// BodyKey implements body.Identity.
func (c *caller) BodyKey() uint64 { return body.Caller(c.Issuer, c.Subject) }

// Names returns what telemetry writes of the caller.
func (c *caller) Names() (issuer, subject, tenant, method string) {
	return c.Issuer, c.Subject, c.Tenant, c.Method
}

func callerOf(ctx context.Context) (*caller, bool) {
	c, ok := ginctx.Value(ctx, contextKey{}).(*caller)
	return c, ok
}

func (c *caller) in(ctx context.Context) context.Context {
	return context.WithValue(ctx, contextKey{}, c)
}

// callers is the seed of the callers' hashes. It differs between processes.
//
//nolint:gochecknoglobals // a constant
var callers = maphash.MakeSeed()

// on returns the request with the caller in its context. Layers that count failures per
// caller use its hash.
func (c *caller) on(r *http.Request) *http.Request {
	x := exchange.From(r.Context())
	ctx := c.in(r.Context())
	if x == nil {
		x = new(exchange.Exchange)
		ctx = exchange.With(ctx, x)
	}
	x.Caller = c.hash()
	return r.WithContext(ctx)
}

// FromContext returns the identity that the middleware stored in ctx, which may be a
// *gin.Context.
func FromContext(ctx context.Context) (*Identity, bool) {
	c, ok := callerOf(ctx)
	if !ok {
		return nil, false
	}
	return c.Identity, true
}

// NewContext returns a context with an identity. Use it in tests and in middlewares that
// identify callers in other ways. For a *gin.Context it derives the context of its request.
func NewContext(ctx context.Context, id *Identity) context.Context {
	ctx = ginctx.Of(ctx)
	c := newCaller(id)
	if x := exchange.From(ctx); x != nil && x.Attempts() == 0 {
		x.Caller = c.hash()
	}
	return c.in(ctx)
}

// hash returns the caller's key in layers that count failures per caller.
func (c *caller) hash() uint64 { return max(maphash.String(callers, c.subject), 1) } // 0 means anonymous

// ErrNoIdentity is returned when a key function finds no identity in the request.
var ErrNoIdentity = errors.New("auth: no identity")

// Subject is a key function for limits per caller. It returns issuer and subject.
func Subject(c *gin.Context) (string, error) {
	if caller, ok := callerOf(c.Request.Context()); ok {
		return caller.subject, nil
	}
	return "", noIdentity()
}

// Tenant is a key function for limits per tenant. For a caller without a tenant it returns
// issuer and subject, so that such callers do not share a limit.
func Tenant(c *gin.Context) (string, error) {
	if caller, ok := callerOf(c.Request.Context()); ok {
		return caller.tenant, nil
	}
	return "", noIdentity()
}

func noIdentity() error {
	return &apierror.Error{Status: http.StatusUnauthorized, Code: "unauthenticated", Message: "Authentication is required.", Err: ErrNoIdentity}
}

// SubjectOf returns the caller's issuer and subject. Use it as routing.Config.Subject.
func SubjectOf(ctx context.Context) (string, bool) {
	caller, ok := callerOf(ctx)
	if !ok {
		return "", false
	}
	return caller.subject, true
}

// TagsOf returns the caller's tags. Use it as routing.Config.Tags.
func TagsOf(ctx context.Context) []string {
	if caller, ok := callerOf(ctx); ok {
		return caller.Tags
	}
	return nil
}
