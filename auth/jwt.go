package auth

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// minRSA is the shortest RSA key, in bits (RFC 7518 §3.3).
const minRSA = 2048

// maxTried is how many keys are tried for a token that names none.
const maxTried = 10

// Keys finds the keys that may have signed a token. [KeySet] and [Secrets] are
// such. It is called concurrently.
type Keys interface {
	// Keys returns those that fit a token's "kid" and "alg": *rsa.PublicKey,
	// *ecdsa.PublicKey, ed25519.PublicKey, or []byte for HMAC. None is no error;
	// an error means that it can't be told now.
	Keys(ctx context.Context, kid, alg string) ([]any, error)
	// Generation changes when the keys do.
	Generation() uint64
}

// JWTConfig says which tokens are good. Keys, Algorithms, Issuer and Audience are
// required.
type JWTConfig struct {
	// Keys verify signatures.
	Keys Keys
	// Algorithms are those that tokens may be signed with: HS, RS, PS or ES with
	// 256, 384 or 512, and EdDSA.
	Algorithms []string
	// Issuer must be the token's "iss", Audience among its "aud".
	Issuer, Audience string
	// Leeway is how far clocks may differ. Default 30 s; at most 1 min; negative:
	// none.
	Leeway time.Duration
	// CacheTTL is how long a verified token is not verified again, at most until
	// it expires or the keys change. Default 60 s, which is the most; negative: not
	// at all.
	CacheTTL time.Duration
	// CacheSize is how many tokens are remembered. Default 10,000.
	CacheSize int
	// Claims makes an identity of a token's claims. Default: "sub", "iss", "exp",
	// "tenant", "scope" (RFC 8693 §4.2) or "scp", "tags", and "models".
	Claims func(claims map[string]any) (*Identity, error)
}

// JWT is a [Verifier] for signed tokens (RFC 7519) in Authorization: Bearer. A
// Bearer token of another form is left to the next verifier. It is safe for
// concurrent use.
type JWT struct {
	cfg    JWTConfig
	parser *jwt.Parser
	cache  *verified[good]
}

// good is a token that was verified.
type good struct {
	id         *Identity
	generation uint64
}

// NewJWT checks cfg and returns a verifier. The error joins every fault.
func NewJWT(cfg JWTConfig) (*JWT, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	cfg.Leeway = max(orDefault(cfg.Leeway, 30*time.Second), 0)
	cfg.CacheTTL = min(orDefault(cfg.CacheTTL, time.Minute), time.Minute)
	if cfg.CacheSize == 0 {
		cfg.CacheSize = 10_000
	}
	if cfg.Claims == nil {
		cfg.Claims = identityOf
	}
	return &JWT{cfg: cfg, cache: newVerified[good](cfg.CacheSize), parser: jwt.NewParser(
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
	return errors.Join(faults...)
}

// Verify implements Verifier.
func (v *JWT) Verify(r *http.Request) (*Identity, error) {
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
	h := tokenHash(sha256.Sum256([]byte(token)))
	if g, ok := v.cache.get(h, now); ok && g.generation == generation {
		return g.id, nil
	}
	id, err := v.verify(r.Context(), token)
	if err != nil {
		return nil, err
	}
	until := now.Add(v.cfg.CacheTTL)
	if end := id.Expires.Add(v.cfg.Leeway); end.Before(until) {
		until = end
	}
	if until.After(now) {
		v.cache.put(h, good{id, generation}, until, now)
	}
	return id, nil
}

func (v *JWT) verify(ctx context.Context, token string) (*Identity, error) {
	header, err := readHeader(token)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(v.cfg.Algorithms, header.alg) {
		return nil, fmt.Errorf("%w: algorithm not allowed", ErrInvalid)
	}
	keys, err := v.cfg.Keys.Keys(ctx, header.kid, header.alg)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	keys = slices.DeleteFunc(slices.Clone(keys), func(key any) bool { return !fits(key, header.alg) })
	if len(keys) == 0 {
		return nil, fmt.Errorf("%w: unknown key", ErrInvalid)
	}
	claims := jwt.MapClaims{}
	for _, key := range keys[:min(len(keys), maxTried)] {
		claims = jwt.MapClaims{}
		_, err = v.parser.ParseWithClaims(token, claims, func(*jwt.Token) (any, error) { return key, nil })
		if err == nil || !errors.Is(err, jwt.ErrTokenSignatureInvalid) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s", ErrInvalid, reason(err))
	}
	return v.identity(token, claims)
}

// reason is what may be logged: of a signature only that it is wrong.
func reason(err error) string {
	for _, known := range []error{jwt.ErrTokenExpired, jwt.ErrTokenNotValidYet, jwt.ErrTokenUsedBeforeIssued, jwt.ErrTokenInvalidIssuer, jwt.ErrTokenInvalidAudience, jwt.ErrTokenRequiredClaimMissing, jwt.ErrTokenSignatureInvalid} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return "malformed token"
}

func (v *JWT) identity(token string, claims jwt.MapClaims) (*Identity, error) {
	if err := checkClaims(token); err != nil {
		return nil, err
	}
	id, err := v.cfg.Claims(claims)
	if err != nil {
		return nil, fmt.Errorf("%w: claims: %w", ErrInvalid, err)
	}
	if id == nil || id.Subject == "" {
		return nil, fmt.Errorf("%w: no subject", ErrInvalid)
	}
	exp, err := claims.GetExpirationTime()
	if err != nil || exp == nil { // the parser demands one
		return nil, fmt.Errorf("%w: no expiry", ErrInvalid)
	}
	out := *id
	out.Method, out.Expires = "jwt", exp.Time
	return &out, nil
}

// fits reports whether a key is of the algorithm's kind, and long enough. A
// public key is never a secret: that would be the key confusion of CVE-2015-9235.
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
