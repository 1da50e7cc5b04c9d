package auth

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
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

type contextKey struct{}

// FromContext returns the identity that the middleware found.
func FromContext(ctx context.Context) (*Identity, bool) {
	id, ok := ctx.Value(contextKey{}).(*Identity)
	return id, ok
}

// NewContext returns a context with an identity, for tests and for verifiers
// of other kinds.
func NewContext(ctx context.Context, id *Identity) context.Context {
	return context.WithValue(ctx, contextKey{}, id)
}

// ErrNoIdentity: a key was asked for before anybody was identified.
var ErrNoIdentity = errors.New("auth: no identity")

// Subject is a key function: issuer and subject of the caller.
func Subject(c *gin.Context) (string, error) {
	id, ok := FromContext(c.Request.Context())
	if !ok {
		return "", noIdentity()
	}
	return id.Issuer + "\x00" + id.Subject, nil
}

// Tenant is a key function: the caller's tenant, or issuer and subject of one
// that has none, so that strangers do not share.
func Tenant(c *gin.Context) (string, error) {
	id, ok := FromContext(c.Request.Context())
	if !ok {
		return "", noIdentity()
	}
	if id.Tenant == "" {
		return Subject(c)
	}
	return "tenant\x00" + id.Tenant, nil
}

func noIdentity() error {
	return &apierror.Error{Status: http.StatusUnauthorized, Code: "unauthenticated", Message: "Authentication is required.", Err: ErrNoIdentity}
}

// SubjectOf returns the caller's subject; it fits routing.Config.Subject.
func SubjectOf(ctx context.Context) (string, bool) {
	id, ok := FromContext(ctx)
	if !ok {
		return "", false
	}
	return id.Issuer + "\x00" + id.Subject, true
}

// TagsOf returns the caller's tags; it fits routing.Config.Tags.
func TagsOf(ctx context.Context) []string {
	if id, ok := FromContext(ctx); ok {
		return id.Tags
	}
	return nil
}
