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
	"github.com/ginfer/ginfer/internal/fault"
	"github.com/golang-jwt/jwt/v5"
)

// signedLife is the lifetime of a signed header, which is made for one request.
const signedLife = time.Minute

// ForwardConfig configures a Forwarder. At least one header must be named; each name has
// one meaning. Default: nothing is forwarded.
type ForwardConfig struct {
	// Subject, Tenant, Scopes and Tags are the names of the headers that carry these; lists
	// are separated by spaces. An upstream may trust them only if it accepts connections
	// from the gateway alone. Default: not sent.
	Subject, Tenant, Scopes, Tags string
	// Signed is the name of a header that carries a JWT about the caller. It is signed with
	// HS256 by Secret, valid for a minute, with Issuer as "iss" and Audience as "aud".
	// Default: not sent.
	Signed string
	// Secret is the key of 32 bytes or more that signs. Required with Signed.
	Secret []byte
	// Issuer and Audience are the "iss" and "aud" of the signed header. Required with
	// Signed.
	Issuer, Audience string
}

// Forwarder sets the caller's identity on outbound requests. Use it as
// proxy.Config.Rewrite. It is safe for concurrent use.
type Forwarder struct {
	cfg   ForwardConfig
	names []string // the headers that it may set, with "-" for "_"
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
			faults = append(faults, fmt.Errorf("auth: ForwardConfig.%s: %q is used twice", h.field, h.name))
		}
		f.names = append(f.names, name)
	}
	if len(f.names) == 0 {
		faults = append(faults, errors.New("auth: ForwardConfig names no header"))
	}
	if cfg.Signed != "" && (len(cfg.Secret) < minSecret || cfg.Issuer == "" || cfg.Audience == "") {
		faults = append(faults, fmt.Errorf("auth: ForwardConfig.Signed needs Issuer, Audience, and a Secret of %d bytes or more", minSecret))
	}
	if err := fault.Join(faults...); err != nil {
		return nil, err
	}
	return f, nil
}

// dashes folds the spellings that some servers treat as the same header.
func dashes(name string) string { return strings.ReplaceAll(name, "_", "-") }

// Rewrite is a proxy.Config.Rewrite. It first removes the configured headers that the
// client sent, in any spelling that some server accepts for them (X_User for X-User), also
// for requests without an identity. Then it sets the verified identity.
func (f *Forwarder) Rewrite(c *gin.Context, out *http.Request) {
	for name := range out.Header {
		for _, own := range f.names {
			if strings.EqualFold(dashes(name), own) {
				delete(out.Header, name)
			}
		}
	}
	id, ok := FromContext(c.Request.Context()) //nolint:contextcheck // the inbound context has the identity
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

// isHeaderValue reports whether v is a valid header value. A claim that could start another
// header, or that would lose its spaces on the way, is not sent.
func isHeaderValue(v string) bool { return isPlain(v) && v == strings.TrimSpace(v) }
