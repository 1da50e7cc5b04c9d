// Package jwk reads public keys from JWK sets (RFC 7517) and PEM.
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

// maxKeys bounds a set.
const maxKeys = 100

// Key is a public key for verifying.
type Key struct {
	// ID is its "kid"; "" when it has none.
	ID string
	// Algorithm is the only one it is for; "" when any that fits will do.
	Algorithm string
	// Public is an *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey.
	Public any
}

// ErrNoKeys: nothing in the text is a key for verifying.
var ErrNoKeys = errors.New("jwk: no usable key")

// ParseSet reads a JWK set. Keys that are private, symmetric, for encryption, or
// of unknown kinds are left out, as RFC 7517 §5 asks; a set without any other is
// an error, so that an empty answer never takes the place of good keys.
// References in it (x5u) are not followed.
func ParseSet(text []byte) ([]Key, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, fmt.Errorf("jwk: %w", err)
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("jwk: %d keys are more than %d", len(set.Keys), maxKeys)
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

// ParsePEM reads public keys and certificates; they have no ID.
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
		return nil, errors.New("only public keys and certificates can be here")
	}
	if err == nil && !isPublic(key) {
		err = errors.New("not an RSA, EC or Ed25519 key")
	}
	return key, err
}
