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
)

// Identity is who a request comes from. It is shared: do not change it.
type Identity struct {
	// Subject names the caller, uniquely within Issuer. Never empty.
	Subject string
	// Issuer says who vouches for it.
	Issuer string
	// Tenant is the customer or team that it belongs to; "" when unknown.
	Tenant string
	// Scopes are what it may do, Tags what kind of caller it is.
	Scopes, Tags []string
	// Models are the models that it may use; nil: all.
	Models []string
	// Expires is when the credential ends; zero: never.
	Expires time.Time
	// Method is the kind of credential: "jwt", "apikey", "introspection", "mtls".
	Method string
}

// HasScopes reports whether the identity has all of them.
func (id *Identity) HasScopes(scopes ...string) bool {
	for _, s := range scopes {
		if !slices.Contains(id.Scopes, s) {
			return false
		}
	}
	return true
}

// check refuses an identity of nobody, and names that could forge a line of a
// log, a header, or another caller's key.
func (id *Identity) check() error {
	if id == nil || id.Subject == "" {
		return fmt.Errorf("%w: no subject", ErrInvalid)
	}
	if !isPlain(id.Subject) || !isPlain(id.Issuer) || !isPlain(id.Tenant) {
		return fmt.Errorf("%w: a control character in a name", ErrInvalid)
	}
	return nil
}

// isPlain reports whether a text has no control characters.
func isPlain(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 })
}

// caller is an identity with its keys. They are made once for each credential
// that is remembered, not for each request.
type caller struct {
	*Identity
	subject, tenant string
}

// newCaller makes the keys. Names have no control characters, so that no two
// callers have one key, nor a caller and a tenant.
func newCaller(id *Identity) *caller {
	c := &caller{Identity: id, subject: id.Issuer + "\x00" + id.Subject}
	c.tenant = c.subject
	if id.Tenant != "" {
		c.tenant = "\x00\x00" + id.Tenant
	}
	return c
}

// contextKey is where the stages that hold bodies find whose they are.
type contextKey = body.IdentityKey

// BodyKey implements body.Identity.
func (c *caller) BodyKey() uint64 { return body.Caller(c.Issuer, c.Subject) }

func callerOf(ctx context.Context) (*caller, bool) {
	c, ok := ctx.Value(contextKey{}).(*caller)
	return c, ok
}

func (c *caller) in(ctx context.Context) context.Context {
	return context.WithValue(ctx, contextKey{}, c)
}

// callers is the seed of the hashes that stand for callers, of this process alone.
//
//nolint:gochecknoglobals // a constant
var callers = maphash.MakeSeed()

// on returns the request as the caller's. Layers that count failures by caller know it by
// a hash.
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

// FromContext returns the identity that the middleware found.
func FromContext(ctx context.Context) (*Identity, bool) {
	c, ok := callerOf(ctx)
	if !ok {
		return nil, false
	}
	return c.Identity, true
}

// NewContext returns a context with an identity, for tests and for middlewares
// that identify callers in other ways.
func NewContext(ctx context.Context, id *Identity) context.Context {
	c := newCaller(id)
	if x := exchange.From(ctx); x != nil && x.Attempts() == 0 {
		x.Caller = c.hash()
	}
	return c.in(ctx)
}

// hash stands for the caller in what layers count failures by.
func (c *caller) hash() uint64 { return max(maphash.String(callers, c.subject), 1) } // 0 is nobody known

// ErrNoIdentity: a key was asked for before anybody was identified.
var ErrNoIdentity = errors.New("auth: no identity")

// Subject is a key function: issuer and subject of the caller.
func Subject(c *gin.Context) (string, error) {
	if who, ok := callerOf(c.Request.Context()); ok {
		return who.subject, nil
	}
	return "", noIdentity()
}

// Tenant is a key function: the caller's tenant, or issuer and subject of one
// that has none, so that strangers do not share.
func Tenant(c *gin.Context) (string, error) {
	if who, ok := callerOf(c.Request.Context()); ok {
		return who.tenant, nil
	}
	return "", noIdentity()
}

func noIdentity() error {
	return &apierror.Error{Status: http.StatusUnauthorized, Code: "unauthenticated", Message: "Authentication is required.", Err: ErrNoIdentity}
}

// SubjectOf returns issuer and subject of the caller; it fits
// routing.Config.Subject.
func SubjectOf(ctx context.Context) (string, bool) {
	who, ok := callerOf(ctx)
	if !ok {
		return "", false
	}
	return who.subject, true
}

// TagsOf returns the caller's tags; it fits routing.Config.Tags.
func TagsOf(ctx context.Context) []string {
	if who, ok := callerOf(ctx); ok {
		return who.Tags
	}
	return nil
}
