package auth

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// header is what matters of a token's header.
type header struct{ alg, kid string }

// readHeader reads a token's header. One that is not JSON, or names no algorithm,
// is not a signed token; one that asks for anything beyond "alg", "kid" and
// "typ" to be understood, or brings its own key, is refused (RFC 7515 §4.1.11,
// RFC 8725 §3.10).
func readHeader(token string) (header, error) {
	segment, _, _ := strings.Cut(token, ".")
	text, err := base64.RawURLEncoding.Strict().DecodeString(segment)
	if err != nil {
		return header{}, fmt.Errorf("%w: not a signed token", ErrNoCredential)
	}
	var fields map[string]any
	if json.Unmarshal(text, &fields) != nil || fields["alg"] == nil {
		return header{}, fmt.Errorf("%w: not a signed token", ErrNoCredential)
	}
	for _, name := range [...]string{"crit", "b64", "jwk", "jku", "x5u", "x5c", "zip", "enc"} {
		if _, ok := fields[name]; ok {
			return header{}, fmt.Errorf("%w: header %q", ErrInvalid, name)
		}
	}
	if err := unique(text); err != nil {
		return header{}, fmt.Errorf("%w: header: %w", ErrInvalid, err)
	}
	h := header{}
	var ok bool
	if h.alg, ok = fields["alg"].(string); !ok {
		return header{}, fmt.Errorf("%w: algorithm", ErrInvalid)
	}
	if kid, has := fields["kid"]; has {
		if h.kid, ok = kid.(string); !ok {
			return header{}, fmt.Errorf("%w: key name", ErrInvalid)
		}
	}
	return h, nil
}

// checkClaims refuses members that appear twice: parsers differ in which counts.
func checkClaims(token string) error {
	segment := strings.Split(token, ".")[1]
	text, err := base64.RawURLEncoding.Strict().DecodeString(segment)
	if err == nil {
		err = unique(text)
	}
	if err != nil {
		return fmt.Errorf("%w: claims: %w", ErrInvalid, err)
	}
	return nil
}

var errTwice = errors.New("a member appears twice")

// unique reports members that appear twice in the outermost object, whatever
// their case.
func unique(text []byte) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	if _, err := dec.Token(); err != nil {
		return err
	}
	var seen []string
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return err
		}
		name, _ := token.(string) // the decoder lets nothing else pass here
		if slices.ContainsFunc(seen, func(s string) bool { return strings.EqualFold(s, name) }) {
			return errTwice
		}
		seen = append(seen, name)
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

// identityOf reads the usual claims.
func identityOf(claims map[string]any) (*Identity, error) {
	id := &Identity{}
	var err error
	for _, c := range [...]struct {
		name string
		into *string
	}{{"sub", &id.Subject}, {"iss", &id.Issuer}, {"tenant", &id.Tenant}} {
		if *c.into, err = text(claims, c.name); err != nil {
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

func text(claims map[string]any, name string) (string, error) {
	v, ok := claims[name]
	if !ok {
		return "", nil
	}
	s, ok := v.(string)
	if !ok {
		return "", fmt.Errorf("%q is not a string", name)
	}
	return s, nil
}

// list reads a list of strings, or words in one string.
func list(claims map[string]any, name string, into *[]string) error {
	claim, ok := claims[name]
	if !ok {
		return nil
	}
	switch v := claim.(type) {
	case string:
		*into = strings.Fields(v)
		return nil
	case []any:
		out := make([]string, len(v))
		for i, e := range v {
			s, ok := e.(string)
			if !ok {
				return fmt.Errorf("%q holds something that is not a string", name)
			}
			out[i] = s
		}
		*into = out
		return nil
	}
	return fmt.Errorf("%q is not a list", name)
}
