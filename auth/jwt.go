package auth

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ginfer/ginfer/internal/fault"
	"github.com/golang-jwt/jwt/v5"
)

// minRSA is the shortest RSA key, in bits (RFC 7518 §3.3).
const minRSA = 2048

// maxTried is the number of keys tried for a token without a key ID.
const maxTried = 10

// Keys is a source of the keys that may have signed a token. [KeySet] and [Secrets]
// implement it. It is called concurrently.
type Keys interface {
	// Keys returns the keys that fit a token's "kid" and "alg": *rsa.PublicKey,
	// *ecdsa.PublicKey, ed25519.PublicKey, or []byte for HMAC. No keys and a nil error mean
	// that none fits; an error means that this can't be determined now.
	Keys(ctx context.Context, kid, alg string) ([]any, error)
	// Generation returns a number that changes whenever the keys do.
	Generation() uint64
}

// maxToken is the longest accepted token, in bytes.
const maxToken = 8 << 10

// JWTConfig configures a JWT. Keys, Algorithms, Issuer and Audience are required.
type JWTConfig struct {
	// Keys are the keys that verify signatures. Required.
	Keys Keys
	// Algorithms are the accepted signature algorithms: HS, RS, PS or ES with 256, 384 or
	// 512, and EdDSA. Required.
	Algorithms []string
	// Issuer must equal the token's "iss", and Audience be among its "aud". Required.
	Issuer, Audience string
	// Type must equal the token's "typ", such as "at+jwt" (RFC 9068). Set it when the
	// issuer signs other tokens with the same keys. Default: "JWT", "at+jwt" or none.
	Type string
	// Leeway is the clock difference that is tolerated, at most 1 min. Default: 30 s;
	// negative: none.
	Leeway time.Duration
	// CacheTTL is how long the result of a verification is cached, at most until the token
	// expires or the keys change. Default: 60 s, the maximum; negative: not cached.
	CacheTTL time.Duration
	// CacheSize is the maximum number of cached tokens. Default: 10,000.
	CacheSize int
	// Claims returns the identity of a token's claims. An error counts as [ErrInvalid]
	// unless it is [ErrUnavailable]. Default: "sub", "iss", "exp", "tenant", "scope" (RFC
	// 8693 §4.2) or "scp", "tags", and "models". One that is null
	// counts as absent, but for "models" and times.
	Claims func(claims map[string]any) (*Identity, error)
}

// JWT is a [Verifier] of signed tokens (RFC 7519) in Authorization: Bearer. A Bearer token
// of another form or of another issuer is left to the next verifier. It is safe for
// concurrent use.
type JWT struct {
	cfg    JWTConfig
	parser *jwt.Parser
	cache  *verified[proven]
}

// proven is a verified token.
type proven struct {
	caller     *caller
	generation uint64
}

// NewJWT checks cfg and returns a JWT. The error joins every fault.
func NewJWT(cfg JWTConfig) (*JWT, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	cfg.Leeway = max(cmp.Or(cfg.Leeway, 30*time.Second), 0)
	cfg.CacheTTL = min(cmp.Or(cfg.CacheTTL, time.Minute), time.Minute)
	if cfg.CacheSize == 0 {
		cfg.CacheSize = 10_000
	}
	if cfg.Claims == nil {
		cfg.Claims = identityOf
	}
	return &JWT{cfg: cfg, cache: newVerified[proven](cfg.CacheSize), parser: jwt.NewParser(
		jwt.WithValidMethods(cfg.Algorithms), jwt.WithIssuer(cfg.Issuer), jwt.WithAudience(cfg.Audience),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(cfg.Leeway), jwt.WithStrictDecoding(),
	)}, nil
}

func (cfg *JWTConfig) check() error {
	var faults []error
	if cfg.Keys == nil {
		faults = append(faults, errors.New("auth: JWTConfig.Keys is required"))
	}
	if len(cfg.Algorithms) == 0 {
		faults = append(faults, errors.New("auth: JWTConfig.Algorithms is required"))
	}
	for _, alg := range cfg.Algorithms {
		if alg == "none" || jwt.GetSigningMethod(alg) == nil {
			faults = append(faults, fmt.Errorf("auth: JWTConfig.Algorithms: %q is unknown", alg))
		}
	}
	if cfg.Issuer == "" || cfg.Audience == "" {
		faults = append(faults, errors.New("auth: JWTConfig needs Issuer and Audience"))
	}
	if cfg.Leeway > time.Minute {
		faults = append(faults, fmt.Errorf("auth: JWTConfig.Leeway %v is more than a minute", cfg.Leeway))
	}
	if cfg.CacheSize < 0 {
		faults = append(faults, errors.New("auth: JWTConfig.CacheSize is negative"))
	}
	return fault.Join(faults...)
}

// Verify implements Verifier.
func (v *JWT) Verify(r *http.Request) (*Identity, error) {
	caller, err := v.identify(r)
	if err != nil {
		return nil, err
	}
	return caller.Identity, nil
}

func (v *JWT) identify(r *http.Request) (*caller, error) {
	token, err := Bearer(r)
	if err != nil {
		return nil, err
	}
	if strings.Count(token, ".") != 2 {
		return nil, fmt.Errorf("%w: not a signed token", ErrNoCredential)
	}
	if len(token) > maxToken {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrInvalid, maxToken)
	}
	now, generation := time.Now(), v.cfg.Keys.Generation()
	h := hashOf(token)
	if g, ok := v.cache.get(h, now); ok && g.generation == generation {
		return g.caller, nil
	}
	id, err := v.verify(r.Context(), token)
	if err != nil {
		return nil, err
	}
	caller, until := newCaller(id), now.Add(v.cfg.CacheTTL)
	if end := id.Expires.Add(v.cfg.Leeway); end.Before(until) {
		until = end
	}
	if until.After(now) {
		v.cache.put(h, proven{caller, generation}, until, now)
	}
	return caller, nil
}

func (v *JWT) verify(ctx context.Context, token string) (*Identity, error) {
	if strings.ContainsAny(token, "\r\n") { // base64 decoders skip them
		return nil, fmt.Errorf("%w: a line break in the token", ErrInvalid)
	}
	header, err := readHeader(token)
	if err != nil {
		return nil, err
	}
	if namesAnother(token, v.cfg.Issuer) {
		return nil, fmt.Errorf("%w: a token of another issuer", ErrNoCredential)
	}
	if !slices.Contains(v.cfg.Algorithms, header.alg) {
		return nil, fmt.Errorf("%w: algorithm not allowed", ErrInvalid)
	}
	if !v.isType(header.typ) {
		return nil, fmt.Errorf("%w: a token of another type", ErrInvalid)
	}
	claims, err := v.parse(ctx, token, header)
	if errors.Is(err, jwt.ErrTokenSignatureInvalid) && v.renewed(ctx) {
		claims, err = v.parse(ctx, token, header)
	}
	if errors.Is(err, ErrUnavailable) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s", ErrInvalid, reason(err))
	}
	return v.identity(token, claims)
}

// isType implements RFC 8725 §3.11: a token made for another purpose, such as logout, is
// not an access token.
func (v *JWT) isType(typ string) bool {
	typ = strings.TrimPrefix(strings.ToLower(typ), "application/")
	if v.cfg.Type != "" {
		return typ == strings.TrimPrefix(strings.ToLower(v.cfg.Type), "application/")
	}
	return typ == "" || typ == "jwt" || typ == "at+jwt"
}

// renewed reports whether the keys have changed after a fetch: an issuer may replace a key
// that has no ID, or keep the ID.
func (v *JWT) renewed(ctx context.Context) bool {
	set, ok := v.cfg.Keys.(*KeySet)
	return ok && set.renewed(ctx)
}

// parse verifies the token with each key that may have signed it.
func (v *JWT) parse(ctx context.Context, token string, h header) (jwt.MapClaims, error) {
	keys, err := v.cfg.Keys.Keys(ctx, h.kid, h.alg)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	keys = slices.DeleteFunc(slices.Clone(keys), func(key any) bool { return !fits(key, h.alg) })
	err = errUnknownKey
	for _, key := range keys[:min(len(keys), maxTried)] {
		claims := jwt.MapClaims{}
		_, err = v.parser.ParseWithClaims(token, claims, func(*jwt.Token) (any, error) { return key, nil })
		if err == nil || !errors.Is(err, jwt.ErrTokenSignatureInvalid) {
			return claims, err
		}
	}
	return nil, err
}

var errUnknownKey = errors.New("unknown key")

// reason returns the text that may be logged. For a bad signature it gives no details.
func reason(err error) string {
	for _, known := range []error{errUnknownKey, jwt.ErrTokenExpired, jwt.ErrTokenNotValidYet, jwt.ErrTokenUsedBeforeIssued, jwt.ErrTokenInvalidIssuer, jwt.ErrTokenInvalidAudience, jwt.ErrTokenRequiredClaimMissing, jwt.ErrTokenSignatureInvalid} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return "malformed token"
}

func (v *JWT) identity(token string, claims jwt.MapClaims) (*Identity, error) {
	if err := checkClaims(token, claims); err != nil {
		return nil, fmt.Errorf("%w: claims: %w", ErrInvalid, err)
	}
	id, err := v.cfg.Claims(claims)
	if err != nil {
		return nil, fmt.Errorf("%w: claims: %w", ErrInvalid, err)
	}
	if err := id.check(); err != nil {
		return nil, err
	}
	exp, err := claims.GetExpirationTime()
	if err != nil || exp == nil { // the parser requires it
		return nil, fmt.Errorf("%w: no expiry", ErrInvalid)
	}
	out := *id
	out.Method, out.Expires = "jwt", exp.Time
	return &out, nil
}

// fits reports whether a key is of the algorithm's kind and long enough. A public key is
// never used as a secret: that is the key confusion of CVE-2015-9235.
func fits(key any, alg string) bool {
	switch k := key.(type) {
	case []byte:
		return strings.HasPrefix(alg, "HS") && len(k) >= minSecret
	case *rsa.PublicKey:
		return (strings.HasPrefix(alg, "RS") || strings.HasPrefix(alg, "PS")) && k.N.BitLen() >= minRSA
	case *ecdsa.PublicKey:
		return alg == map[int]string{256: "ES256", 384: "ES384", 521: "ES512"}[k.Curve.Params().BitSize]
	case ed25519.PublicKey:
		return alg == "EdDSA"
	}
	return false
}
