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

// Config describes an Authenticator. Verifiers is required.
type Config struct {
	// Verifiers are asked in order; the first that does not say ErrNoCredential
	// decides.
	Verifiers []Verifier
	// Optional lets requests without any credential pass, without an identity.
	// Bad credentials are refused all the same. Default false.
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
	if strings.ContainsFunc(cfg.Realm, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) {
		faults = append(faults, fmt.Errorf("auth: Config.Realm %q can't be quoted", cfg.Realm))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	if cfg.Realm == "" {
		cfg.Realm = "gateway"
	}
	if cfg.ErrorHandler == nil {
		cfg.ErrorHandler = apierror.Abort
	}
	return &Authenticator{cfg: cfg}, nil
}

// Middleware returns the handler that identifies the caller.
func (a *Authenticator) Middleware() gin.HandlerFunc {
	return func(c *gin.Context) {
		start := time.Now()
		id, err := a.verify(c.Request)
		if a.cfg.OnEvent != nil {
			a.cfg.OnEvent(c.Request.Context(), Event{Identity: id, Err: err, Duration: time.Since(start)})
		}
		if err != nil {
			a.refuse(c, err)
			return
		}
		if id != nil {
			c.Request = c.Request.WithContext(NewContext(c.Request.Context(), id))
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

// verify returns nil and nil for a caller that may stay unknown.
func (a *Authenticator) verify(r *http.Request) (*Identity, error) {
	for _, v := range a.cfg.Verifiers {
		id, err := v.Verify(r)
		switch {
		case errors.Is(err, ErrNoCredential):
			continue
		case err != nil:
			return nil, err
		case id == nil || id.Subject == "":
			return nil, fmt.Errorf("%w: a verifier returned no subject", ErrInvalid)
		}
		return id, nil
	}
	if a.cfg.Optional {
		return nil, nil //nolint:nilnil // nobody, and no fault
	}
	return nil, ErrNoCredential
}

// refuse answers as RFC 6750 §3 asks.
func (a *Authenticator) refuse(c *gin.Context, err error) {
	challenge := `Bearer realm="` + a.cfg.Realm + `"`
	e := &apierror.Error{Status: http.StatusUnauthorized, Code: "invalid_api_key", Message: "The credential is not valid.", Err: err}
	switch {
	case errors.Is(err, ErrNoCredential):
		e.Code, e.Message = "missing_credential", "Authentication is required."
	case errors.Is(err, ErrInvalid):
		challenge += `, error="invalid_token"`
	default:
		e.Status, e.Code, e.Message, e.RetryAfter = http.StatusServiceUnavailable, "auth_unavailable", "The credential can't be checked now.", time.Second
		challenge = ""
	}
	if challenge != "" {
		c.Header("WWW-Authenticate", challenge)
	}
	a.cfg.ErrorHandler(c, e)
}

// Bearer returns the token of an Authorization header of the Bearer scheme. More
// than one Authorization header is ErrInvalid: two programs could read two.
func Bearer(r *http.Request) (string, error) {
	values := r.Header["Authorization"]
	switch len(values) {
	case 0:
		return "", ErrNoCredential
	case 1:
	default:
		return "", fmt.Errorf("%w: several Authorization headers", ErrInvalid)
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", ErrNoCredential
	}
	token = strings.Trim(token, " ")
	if token == "" || strings.ContainsAny(token, " \t,") {
		return "", fmt.Errorf("%w: malformed Bearer token", ErrInvalid)
	}
	return token, nil
}
