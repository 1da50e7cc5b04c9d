package observe

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"

	"github.com/ginfer/ginfer/internal/body"
	"github.com/ginfer/ginfer/internal/ginctx"
)

// Caller is the verified caller of a request, as package auth identifies it.
type Caller struct {
	// Issuer is the authority that vouches for Subject, the caller's name.
	Issuer, Subject string
	// Tenant is the customer or team of the caller; "" if unknown.
	Tenant string
	// Method is the kind of credential, such as "jwt".
	Method string
}

// Pseudonyms returns an AccessLogConfig.Subject that names callers by a keyed hash: equal
// for the same caller, and not reversible without the key. The key must have 32 bytes or
// more.
func Pseudonyms(key []byte) (func(Caller) string, error) {
	if len(key) < sha256.Size {
		return nil, errors.New("observe: Pseudonyms: the key needs 32 bytes")
	}
	return func(by Caller) string {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(by.Issuer + "\x00" + by.Subject))
		return hex.EncodeToString(mac.Sum(nil)[:16])
	}, nil
}

// callerOf returns the caller in ctx, or nil.
func callerOf(ctx context.Context) *Caller {
	id, ok := ginctx.Value(ctx, body.IdentityKey{}).(interface {
		Names() (issuer, subject, tenant, method string)
	})
	if !ok {
		return nil
	}
	by := new(Caller)
	by.Issuer, by.Subject, by.Tenant, by.Method = id.Names()
	return by
}
