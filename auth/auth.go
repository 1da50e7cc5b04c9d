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
)

// What a [Verifier] can say, for errors.Is.
var (
	// ErrNoCredential: the request carries none of the verifier's kind.
	ErrNoCredential = errors.New("auth: no credential")
	// ErrInvalid: it carries one, and it is not good. Answered with 401.
	ErrInvalid = errors.New("auth: invalid credential")
	// ErrUnavailable: it can't be checked now. Answered with 503.
	ErrUnavailable = errors.New("auth: credential can't be checked")
	// ErrForbidden: the caller is known and may not do this. Answered with 403.
	ErrForbidden = errors.New("auth: not allowed")
)

// Verifier knows one kind of credential. It is called concurrently.
type Verifier interface {
	// Verify returns the identity behind the request's credential, or one of
	// ErrNoCredential, ErrInvalid and ErrUnavailable, wrapped with the reason. The
	// reason is for logs; the client never sees it.
	Verify(r *http.Request) (*Identity, error)
}

const defaultRealm = "gateway"

// Config describes an Authenticator. Verifiers is required.
type Config struct {
	// Verifiers are asked in order; the first that does not say ErrNoCredential
	// decides.
	Verifiers []Verifier
	// Optional lets requests without any credential pass, without an identity. Bad
	// ones, and Bearer tokens and keys that no verifier takes, are refused all the
	// same. Default false.
	Optional bool
	// Realm is named in WWW-Authenticate. Default "gateway".
	Realm string
	// ErrorHandler answers a refused request. Default [apierror.Abort].
	ErrorHandler func(*gin.Context, error)
	// OnEvent is told of every decision. Optional.
	OnEvent func(context.Context, Event)
}

// Event tells of a decision.
type Event struct {
	// Identity is who was let in; nil when nobody was.
	Identity *Identity
	// Err is why a request was refused. It holds no secret.
	Err error
	// Duration is how long it took.
	Duration time.Duration
}

// Authenticator identifies callers. It is safe for concurrent use.
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
	if err := errors.Join(faults...); err != nil {
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
		who, err := a.identify(c.Request)
		if a.cfg.OnEvent != nil {
			e := Event{Err: err, Duration: time.Since(start)}
			if who != nil {
				e.Identity = who.Identity
			}
			a.cfg.OnEvent(c.Request.Context(), e)
		}
		if err != nil {
			a.refuse(c, err)
			return
		}
		if who != nil {
			c.Request = who.on(c.Request)
		}
	}
}

// Middleware is New and [Authenticator.Middleware] in one. It panics on a bad
// Config.
func Middleware(cfg Config) gin.HandlerFunc {
	a, err := New(cfg)
	if err != nil {
		panic(err)
	}
	return a.Middleware()
}

// remembering is a Verifier that keeps callers with their keys.
type remembering interface {
	identify(r *http.Request) (*caller, error)
}

// identify returns nil and nil for a caller that may stay unknown.
func (a *Authenticator) identify(r *http.Request) (*caller, error) {
	var last error
	for _, v := range a.cfg.Verifiers {
		who, err := ask(v, r)
		if verdictOf(err) != missing {
			return who, err
		}
		last = err
	}
	if presents(r) {
		return nil, fmt.Errorf("%w: no verifier takes it: %w", ErrInvalid, last)
	}
	if a.cfg.Optional {
		return nil, nil //nolint:nilnil // nobody, and no fault
	}
	return nil, ErrNoCredential
}

func ask(v Verifier, r *http.Request) (*caller, error) {
	if v, ok := v.(remembering); ok {
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

// verdict is what a verifier's error says.
type verdict int

const (
	good verdict = iota
	missing
	invalid
	unavailable
)

// verdictOf goes by the gravest of the verifiers' errors that err wraps: whatever
// a look-up of the user's returns, a bad credential is never a missing one.
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

// presents reports whether the request has a credential of a kind that
// verifiers are for, though none of them took it.
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

// refuse answers as RFC 6750 §3 asks.
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

// stop ends the chain, whatever the handler does.
func stop(c *gin.Context, handler func(*gin.Context, error), err error) {
	c.Abort()
	handler(c, err)
}

// challenge says what is wanted (RFC 6750 §3).
func challenge(c *gin.Context, realm, more string) {
	c.Header("WWW-Authenticate", `Bearer realm="`+realm+`"`+more)
}

// Bearer returns the token of an Authorization header of the Bearer scheme. More
// than one Authorization header is ErrInvalid: two programs could read two. So is
// a token with characters that could be read as its end.
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
	for _, c := range [...]byte{' ', '\t', ',', '"'} { // fast: long tokens are seen often
		if strings.IndexByte(token, c) >= 0 {
			return "", fmt.Errorf("%w: malformed Bearer token", ErrInvalid)
		}
	}
	return token, nil
}
