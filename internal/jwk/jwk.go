// Package jwk parses public keys from JWK sets (RFC 7517) and PEM.
package jwk

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	"github.com/MicahParks/jwkset"
)

// maxKeys is the largest number of keys in a set.
const maxKeys = 100

// Key is a public key that verifies signatures.
type Key struct {
	// ID is the "kid"; "" if absent.
	ID string
	// Algorithm is the only algorithm of the key; "" for any that fits.
	Algorithm string
	// Public is an *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey.
	Public any
}

// ErrNoKeys is returned when a text has no key that verifies signatures.
var ErrNoKeys = errors.New("jwk: no usable key")

// ParseSet parses a JWK set. Keys that are private, symmetric, for encryption, or of
// unknown kinds are ignored, as RFC 7517 §5 requires. A set without any other is an error,
// so that an empty response never replaces good keys. References (x5u) are not followed.
func ParseSet(text []byte) ([]Key, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, fmt.Errorf("jwk: %w", err)
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("jwk: %d keys, more than %d", len(set.Keys), maxKeys)
	}
	var out []Key
	for _, raw := range set.Keys {
		if k, ok := parse(raw); ok {
			out = append(out, k)
		}
	}
	if len(out) == 0 {
		return nil, ErrNoKeys
	}
	return out, nil
}

func parse(raw json.RawMessage) (Key, bool) {
	var m jwkset.JWKMarshal
	if json.Unmarshal(raw, &m) != nil || m.D != "" || m.K != "" || m.USE != "" && m.USE != jwkset.UseSig {
		return Key{}, false
	}
	if m.KEYOPS != nil && !slices.Contains(m.KEYOPS, jwkset.KeyOpsVerify) {
		return Key{}, false
	}
	m.X5U, m.X5C, m.X5T, m.X5TS256 = "", nil, "", ""
	k, err := jwkset.NewJWKFromMarshal(m, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
	if err != nil || !isPublic(k.Key()) {
		return Key{}, false
	}
	return Key{ID: m.KID, Algorithm: string(m.ALG), Public: k.Key()}, true
}

func isPublic(key any) bool {
	switch key.(type) {
	case *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey:
		return true
	}
	return false
}

// ParsePEM parses public keys and certificates, which have no ID.
func ParsePEM(text []byte) ([]Key, error) {
	var out []Key
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		key, err := fromBlock(block)
		if err != nil {
			return nil, fmt.Errorf("jwk: %s: %w", block.Type, err)
		}
		out = append(out, Key{Public: key})
		if len(out) > maxKeys {
			return nil, fmt.Errorf("jwk: more than %d keys", maxKeys)
		}
	}
	if len(out) == 0 {
		return nil, ErrNoKeys
	}
	return out, nil
}

func fromBlock(block *pem.Block) (key any, err error) {
	switch block.Type {
	case "PUBLIC KEY":
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		var cert *x509.Certificate
		if cert, err = x509.ParseCertificate(block.Bytes); err == nil {
			key = cert.PublicKey
		}
	default:
		return nil, errors.New("only public keys and certificates are allowed")
	}
	if err == nil && !isPublic(key) {
		err = errors.New("not an RSA, EC or Ed25519 key")
	}
	return key, err
}
