package auth

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/golang-jwt/jwt/v5"
)

// signedLife is how long a signed header is good: it is made for one request.
const signedLife = time.Minute

// ForwardConfig says what upstreams are told of the caller. Nothing is told by
// default; each name is of one header.
type ForwardConfig struct {
	// Subject, Tenant, Scopes and Tags name the headers that carry these; lists are
	// separated by spaces. An upstream may only believe them if nobody but the
	// gateway can reach it.
	Subject, Tenant, Scopes, Tags string
	// Signed names a header that carries a JWT about the caller, signed with HS256
	// by Secret and good for a minute, with Issuer as "iss" and Audience as "aud".
	Signed string
	// Secret has 32 bytes or more. Required with Signed.
	Secret []byte
	// Issuer and Audience are the signed header's. Required with Signed.
	Issuer, Audience string
}

// Forwarder puts the caller's identity on outbound requests. It is safe for
// concurrent use.
type Forwarder struct {
	cfg   ForwardConfig
	names []string // of all headers that it may set, with "-" for "_"
}

// NewForwarder checks cfg and returns a Forwarder.
func NewForwarder(cfg ForwardConfig) (*Forwarder, error) {
	f := &Forwarder{cfg: cfg}
	f.cfg.Secret = bytes.Clone(cfg.Secret)
	var faults []error
	for _, h := range [...]struct{ field, name string }{{"Subject", cfg.Subject}, {"Tenant", cfg.Tenant}, {"Scopes", cfg.Scopes}, {"Tags", cfg.Tags}, {"Signed", cfg.Signed}} {
		if h.name == "" {
			continue
		}
		if strings.ContainsFunc(h.name, func(r rune) bool { return r <= ' ' || r > '~' || r == ':' }) {
			faults = append(faults, fmt.Errorf("auth: ForwardConfig.%s: %q is not a header name", h.field, h.name))
		}
		name := dashes(h.name)
		if slices.ContainsFunc(f.names, func(other string) bool { return strings.EqualFold(other, name) }) {
			faults = append(faults, fmt.Errorf("auth: ForwardConfig.%s: %q has another meaning too", h.field, h.name))
		}
		f.names = append(f.names, name)
	}
	if len(f.names) == 0 {
		faults = append(faults, errors.New("auth: ForwardConfig names no header"))
	}
	if cfg.Signed != "" && (len(cfg.Secret) < minSecret || cfg.Issuer == "" || cfg.Audience == "") {
		faults = append(faults, fmt.Errorf("auth: ForwardConfig.Signed needs Issuer, Audience, and a Secret of %d bytes or more", minSecret))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return f, nil
}

// dashes makes one of the spellings that some servers take for each other.
func dashes(name string) string { return strings.ReplaceAll(name, "_", "-") }

// Rewrite fits proxy.Config.Rewrite. It removes what the client sent under these
// names, in any spelling that some server takes for them (X_User for X-User), also
// when nobody is identified, and then sets the verified identity.
func (f *Forwarder) Rewrite(c *gin.Context, out *http.Request) {
	for name := range out.Header {
		for _, own := range f.names {
			if strings.EqualFold(dashes(name), own) {
				delete(out.Header, name)
			}
		}
	}
	id, ok := FromContext(c.Request.Context()) //nolint:contextcheck // the identity is in the inbound one
	if !ok {
		return
	}
	for _, h := range [...]struct{ name, value string }{
		{f.cfg.Subject, id.Subject},
		{f.cfg.Tenant, id.Tenant},
		{f.cfg.Scopes, strings.Join(id.Scopes, " ")},
		{f.cfg.Tags, strings.Join(id.Tags, " ")},
	} {
		if h.name != "" && h.value != "" && isHeaderValue(h.value) {
			out.Header.Set(h.name, h.value)
		}
	}
	if f.cfg.Signed != "" {
		out.Header.Set(f.cfg.Signed, f.sign(id))
	}
}

func (f *Forwarder) sign(id *Identity) string {
	now := time.Now()
	claims := jwt.MapClaims{"iss": f.cfg.Issuer, "aud": f.cfg.Audience, "sub": id.Subject, "iat": now.Unix(), "exp": now.Add(signedLife).Unix()}
	for name, value := range map[string]string{"tenant": id.Tenant, "scope": strings.Join(id.Scopes, " "), "origin": id.Issuer} {
		if value != "" {
			claims[name] = value
		}
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(f.cfg.Secret)
	if err != nil { // strings and a checked key: cannot happen
		return ""
	}
	return token
}

// isHeaderValue reports whether a value can stand in a header. A claim that could
// begin another header, or that arrives without its spaces, is not sent.
func isHeaderValue(v string) bool { return isPlain(v) && v == strings.TrimSpace(v) }
