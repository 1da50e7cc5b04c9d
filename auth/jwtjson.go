package auth

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// lastSecond is the latest time that a claim may name: the end of the year 9999. Later ones
// would overflow into the past.
const lastSecond = 253402300799

// header is the part of a token's header that is used.
type header struct{ alg, kid, typ string }

// readHeader parses a token's header. One that is not JSON or has no algorithm is not a
// signed token. One with a member beyond "alg", "kid" and "typ" that must be understood, or
// with its own key, is refused (RFC 7515 §4.1.11, RFC 8725 §3.10).
func readHeader(token string) (header, error) {
	text, err := segment(token, 0)
	if err != nil {
		return header{}, fmt.Errorf("%w: not a signed token", ErrNoCredential)
	}
	var fields map[string]any
	if json.Unmarshal(text, &fields) != nil || fields["alg"] == nil {
		return header{}, fmt.Errorf("%w: not a signed token", ErrNoCredential)
	}
	for _, name := range [...]string{"crit", "b64", "jwk", "jku", "x5u", "x5c", "zip", "enc", "cty"} {
		if _, ok := fields[name]; ok {
			return header{}, fmt.Errorf("%w: header %q", ErrInvalid, name)
		}
	}
	if err := unique(text); err != nil {
		return header{}, fmt.Errorf("%w: header: %w", ErrInvalid, err)
	}
	h := header{}
	for _, f := range [...]struct {
		name string
		into *string
	}{{"alg", &h.alg}, {"kid", &h.kid}, {"typ", &h.typ}} {
		if *f.into, err = stringOf(fields, f.name); err != nil {
			return header{}, fmt.Errorf("%w: header: %w", ErrInvalid, err)
		}
	}
	return h, nil
}

// segment decodes a part of a token.
func segment(token string, i int) ([]byte, error) {
	return base64.RawURLEncoding.Strict().DecodeString(strings.Split(token, ".")[i])
}

// namesAnother reports whether the token's "iss" is another issuer. It is not verified yet:
// it only selects the verifier.
func namesAnother(token, issuer string) bool {
	var claims struct {
		Issuer string `json:"iss"`
	}
	text, err := segment(token, 1)
	return err == nil && json.Unmarshal(text, &claims) == nil && claims.Issuer != "" && claims.Issuer != issuer
}

// checkClaims refuses duplicate members, because parsers differ in which one counts, and
// invalid times.
func checkClaims(token string, claims map[string]any) error {
	text, err := segment(token, 1)
	if err == nil {
		err = unique(text)
	}
	if err != nil {
		return err
	}
	for _, name := range [...]string{"exp", "nbf", "iat"} {
		if _, _, err := timeOf(claims, name); err != nil {
			return err
		}
	}
	return nil
}

// timeOf parses a time claim (NumericDate, RFC 7519 §2).
func timeOf(claims map[string]any, name string) (t time.Time, has bool, err error) {
	v := claims[name]
	if v == nil {
		return t, false, nil
	}
	seconds, ok := v.(float64)
	if !ok || math.Abs(seconds) > lastSecond {
		return t, false, fmt.Errorf("%q is not a time", name)
	}
	return time.Unix(int64(seconds), 0), true, nil
}

// Errors of [unique].
var (
	errDuplicate = errors.New("duplicate member")
	errUTF8      = errors.New("not UTF-8")
)

// unique returns an error for duplicate members in the outermost object, ignoring case, and
// for text that programs parse differently.
func unique(text []byte) error {
	if !utf8.Valid(text) {
		return errUTF8
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	if _, err := dec.Token(); err != nil {
		return err
	}
	seen := make(map[string]bool)
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return err
		}
		name, _ := token.(string) // the decoder returns strings only here
		if name = strings.Map(fold, name); seen[name] {
			return errDuplicate
		}
		seen[name] = true
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one value")
	}
	return nil
}

// fold maps all cases of a letter to one, like strings.EqualFold.
func fold(r rune) rune {
	least := r
	for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
		least = min(least, f)
	}
	return least
}

// identityOf reads the default claims. One that is null counts as absent, but for "models": what
// limits the caller must be legible.
func identityOf(claims map[string]any) (*Identity, error) {
	if v, ok := claims["models"]; ok && v == nil {
		return nil, errors.New(`"models" is null`)
	}
	id := &Identity{}
	var err error
	for _, c := range [...]struct {
		name string
		into *string
	}{{"sub", &id.Subject}, {"iss", &id.Issuer}, {"tenant", &id.Tenant}} {
		if *c.into, err = stringOf(claims, c.name); err != nil {
			return nil, err
		}
	}
	for _, c := range [...]struct {
		name string
		into *[]string
	}{{"scp", &id.Scopes}, {"scope", &id.Scopes}, {"tags", &id.Tags}, {"models", &id.Models}} {
		if err := list(claims, c.name, c.into); err != nil {
			return nil, err
		}
	}
	return id, nil
}

func stringOf(claims map[string]any, name string) (string, error) {
	v := claims[name]
	if v == nil {
		return "", nil
	}
	s, ok := v.(string)
	if !ok {
		return "", fmt.Errorf("%q is not a string", name)
	}
	return s, nil
}

// list reads a list of strings, or the words of one string.
func list(claims map[string]any, name string, into *[]string) error {
	switch v := claims[name].(type) {
	case nil:
		return nil
	case string:
		*into = strings.Fields(v)
		return nil
	case []any:
		out := make([]string, len(v))
		for i, e := range v {
			s, ok := e.(string)
			if !ok {
				return fmt.Errorf("%q has an element that is not a string", name)
			}
			out[i] = s
		}
		*into = out
		return nil
	}
	return fmt.Errorf("%q is not a list", name)
}
