package auth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
)

// minSecret is the shortest secret, in bytes: the length of SHA-256's output
// (RFC 7518 §3.2).
const minSecret = 32

// Secrets is a [Keys] of shared keys, for tokens signed with HS256, HS384 or HS512. Prefer
// a [KeySet]: a service that can verify such a token can also sign one.
type Secrets struct{ list []any }

// NewSecrets returns Secrets of 32 bytes or more each. Use several to rotate secrets. The
// error contains none of them.
func NewSecrets(secrets ...[]byte) (*Secrets, error) {
	if len(secrets) == 0 {
		return nil, errors.New("auth: NewSecrets: no secrets")
	}
	s := &Secrets{}
	for i, secret := range secrets {
		if len(secret) < minSecret {
			return nil, fmt.Errorf("auth: NewSecrets: secret %d has fewer than %d bytes", i, minSecret)
		}
		s.list = append(s.list, bytes.Clone(secret))
	}
	return s, nil
}

// Keys returns all secrets for an HMAC algorithm and none for any other, so that a public
// key is never used as a secret, nor a secret as a public key.
func (s *Secrets) Keys(_ context.Context, _, alg string) ([]any, error) {
	if !strings.HasPrefix(alg, "HS") {
		return nil, nil
	}
	return s.list, nil
}

// Generation is always 0: secrets do not change.
func (s *Secrets) Generation() uint64 { return 0 }
