package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/fault"
)

// Errors of a [Verifier], for errors.Is.
var (
	// ErrNoCredential is returned when the request has no credential of the verifier's
	// kind.
	ErrNoCredential = errors.New("auth: no credential")
	// ErrInvalid is returned when the credential is invalid. The response is a 401.
	ErrInvalid = errors.New("auth: invalid credential")
	// ErrUnavailable is returned when the credential can't be checked now. The response is
	// a 503.
	ErrUnavailable = errors.New("auth: credential can't be checked")
	// ErrForbidden is returned when a known caller lacks a permission. The response is a
	// 403.
	ErrForbidden = errors.New("auth: not allowed")
)

// Verifier checks one kind of credential. Implement it for kinds that this package does not
// know. It is called concurrently.
type Verifier interface {
	// Verify returns the identity of the request's credential, or one of ErrNoCredential,
	// ErrInvalid and ErrUnavailable, wrapped with the reason. The reason is for logs; it is
	// not sent to the client.
	Verify(r *http.Request) (*Identity, error)
}

const defaultRealm = "gateway"

// Config configures an Authenticator. Verifiers is required.
type Config struct {
	// Verifiers are called in order. The first that does not return ErrNoCredential
	// decides. Required.
	Verifiers []Verifier
	// Optional lets requests without any credential pass, without an identity. Invalid
	// credentials, and Bearer tokens and keys that no verifier takes, are still refused.
	// Default: false.
	Optional bool
	// Realm is the realm in WWW-Authenticate. Default: "gateway".
	Realm string
	// ErrorHandler responds to refused requests. Default: [apierror.Abort].
	ErrorHandler func(*gin.Context, error)
	// OnEvent is called after every decision. Default: none.
	OnEvent func(context.Context, Event)
}

// Event describes a decision.
type Event struct {
	// Identity is the admitted caller; nil for a refused or anonymous request.
	Identity *Identity
	// Err is the reason of a refusal. It contains no secret.
	Err error
	// Duration is how long the decision took.
	Duration time.Duration
}

// Authenticator is a middleware that identifies callers and refuses the others. It is safe
// for concurrent use.
type Authenticator struct{ cfg Config }

// New checks cfg and returns an Authenticator. The error joins every fault.
func New(cfg Config) (*Authenticator, error) {
	var faults []error
	if len(cfg.Verifiers) == 0 {
		faults = append(faults, errors.New("auth: Config.Verifiers is required"))
	}
	for i, v := range cfg.Verifiers {
		if v == nil {
			faults = append(faults, fmt.Errorf("auth: Config.Verifiers[%d] is nil", i))
		}
	}
	if !isQuotable(cfg.Realm) {
		faults = append(faults, fmt.Errorf("auth: Config.Realm %q can't be quoted", cfg.Realm))
	}
	if err := fault.Join(faults...); err != nil {
		return nil, err
	}
	if cfg.Realm == "" {
		cfg.Realm = defaultRealm
	}
	if cfg.ErrorHandler == nil {
		cfg.ErrorHandler = apierror.Abort
	}
	return &Authenticator{cfg: cfg}, nil
}

func isQuotable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' })
}

// Middleware returns the handler that identifies the caller.
func (a *Authenticator) Middleware() gin.HandlerFunc {
	return func(c *gin.Context) {
		start := time.Now()
		caller, err := a.identify(c.Request)
		if a.cfg.OnEvent != nil && !isRepeat(c.Request, caller) {
			e := Event{Err: err, Duration: time.Since(start)}
			if caller != nil {
				e.Identity = caller.Identity
			}
			a.cfg.OnEvent(c.Request.Context(), e)
		}
		if err != nil {
			a.refuse(c, err)
			return
		}
		if caller != nil {
			c.Request = caller.on(c.Request)
		}
	}
}

// isRepeat reports whether an earlier pass has identified the same caller.
func isRepeat(r *http.Request, found *caller) bool {
	before, ok := callerOf(r.Context())
	return ok && found != nil && before.subject == found.subject && before.Method == found.Method
}

// Middleware returns the handler of an Authenticator that New makes of cfg. It panics if
// cfg is invalid.
func Middleware(cfg Config) gin.HandlerFunc {
	a, err := New(cfg)
	if err != nil {
		panic(err)
	}
	return a.Middleware()
}

// callerVerifier is a Verifier that caches callers with their keys.
type callerVerifier interface {
	identify(r *http.Request) (*caller, error)
}

// identify returns nil and nil for an anonymous caller that is admitted.
func (a *Authenticator) identify(r *http.Request) (*caller, error) {
	var last error
	for _, v := range a.cfg.Verifiers {
		caller, err := verify(v, r)
		if verdictOf(err) != missing {
			return caller, err
		}
		last = err
	}
	if presents(r) {
		return nil, fmt.Errorf("%w: no verifier takes it: %w", ErrInvalid, last)
	}
	if a.cfg.Optional {
		return nil, nil //nolint:nilnil // anonymous, and no error
	}
	return nil, ErrNoCredential
}

func verify(v Verifier, r *http.Request) (*caller, error) {
	if v, ok := v.(callerVerifier); ok {
		return v.identify(r)
	}
	id, err := v.Verify(r)
	if err == nil {
		err = id.check()
	}
	if err != nil {
		return nil, err
	}
	return newCaller(id), nil
}

// verdict is the meaning of a verifier's error.
type verdict int

const (
	good verdict = iota
	missing
	invalid
	unavailable
)

// verdictOf returns the gravest of the errors that err wraps: an invalid credential never
// counts as missing, whatever a custom Lookup returns.
func verdictOf(err error) verdict {
	switch {
	case err == nil:
		return good
	case errors.Is(err, ErrUnavailable):
		return unavailable
	case errors.Is(err, ErrInvalid):
		return invalid
	case errors.Is(err, ErrNoCredential):
		return missing
	}
	return unavailable
}

// presents reports whether the request has a credential of a kind that verifiers handle,
// though none of them took it.
func presents(r *http.Request) bool {
	if _, err := Bearer(r); !errors.Is(err, ErrNoCredential) {
		return true
	}
	for _, name := range keyHeaders {
		if len(r.Header[name]) > 0 {
			return true
		}
	}
	return false
}

// refuse responds as RFC 6750 §3 requires.
func (a *Authenticator) refuse(c *gin.Context, err error) {
	e := &apierror.Error{Status: http.StatusUnauthorized, Err: err}
	switch v := verdictOf(err); {
	case v == missing:
		e.Code, e.Message = "missing_credential", "Authentication is required."
		challenge(c, a.cfg.Realm, "")
	case v == invalid:
		e.Code, e.Message = "invalid_api_key", "The credential is not valid."
		challenge(c, a.cfg.Realm, `, error="invalid_token"`)
	case c.Request.Context().Err() != nil:
		e.Status, e.Code, e.Message = apierror.StatusClientClosed, "client_closed_request", "The client closed the request."
	default:
		e.Status, e.Code, e.Message, e.RetryAfter = http.StatusServiceUnavailable, "auth_unavailable", "The credential can't be checked now.", time.Second
	}
	stop(c, a.cfg.ErrorHandler, e)
}

// stop aborts the chain, whatever the handler does.
func stop(c *gin.Context, handler func(*gin.Context, error), err error) {
	c.Abort()
	handler(c, err)
}

// challenge sets the challenge of RFC 6750 §3.
func challenge(c *gin.Context, realm, more string) {
	c.Header("WWW-Authenticate", `Bearer realm="`+realm+`"`+more)
}

// Bearer returns the token of an Authorization header with the Bearer scheme. Several
// Authorization headers are ErrInvalid, because two programs could read different ones. So
// is a token with a character that a program could take for its end.
func Bearer(r *http.Request) (string, error) {
	values := r.Header["Authorization"]
	switch len(values) {
	case 0:
		return "", ErrNoCredential
	case 1:
	default:
		return "", fmt.Errorf("%w: several Authorization headers", ErrInvalid)
	}
	scheme, token := strings.Trim(values[0], " \t"), ""
	if end := strings.IndexAny(scheme, " \t"); end >= 0 {
		scheme, token = scheme[:end], scheme[end:]
	}
	if !strings.EqualFold(scheme, "Bearer") {
		return "", ErrNoCredential
	}
	token = strings.TrimLeft(token, " ")
	if token == "" {
		return "", fmt.Errorf("%w: an empty Bearer token", ErrInvalid)
	}
	for _, c := range [...]byte{' ', '\t', ',', '"'} { // faster than IndexAny for long tokens
		if strings.IndexByte(token, c) >= 0 {
			return "", fmt.Errorf("%w: malformed Bearer token", ErrInvalid)
		}
	}
	return token, nil
}
