package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/peek"
)

// Require returns a handler that lets in callers who have all the scopes. It
// panics when it is given none, or one that can't be a scope (RFC 6749 §3.3).
// [Authenticator.Require] is the same, with the authenticator's Realm and
// ErrorHandler.
func Require(scopes ...string) gin.HandlerFunc {
	return require(defaultRealm, apierror.Abort, scopes)
}

// Require is [Require] with the authenticator's Realm and ErrorHandler.
func (a *Authenticator) Require(scopes ...string) gin.HandlerFunc {
	return require(a.cfg.Realm, a.cfg.ErrorHandler, scopes)
}

func require(realm string, refuse func(*gin.Context, error), scopes []string) gin.HandlerFunc {
	if len(scopes) == 0 || slices.ContainsFunc(scopes, func(s string) bool { return s == "" || strings.Contains(s, " ") || !isQuotable(s) }) {
		panic(fmt.Sprintf("auth: Require: %q are no scopes", scopes))
	}
	scopes = slices.Clone(scopes)
	missing := `, error="insufficient_scope", scope="` + strings.Join(scopes, " ") + `"`
	return func(c *gin.Context) {
		id, ok := FromContext(c.Request.Context())
		if !ok {
			challenge(c, realm, "")
			stop(c, refuse, noIdentity())
			return
		}
		if !id.HasScopes(scopes...) {
			challenge(c, realm, missing)
			stop(c, refuse, &apierror.Error{Status: http.StatusForbidden, Code: "insufficient_scope", Message: "The credential does not allow this.", Err: ErrForbidden})
		}
	}
}

// RequireModelConfig describes [RequireModel].
type RequireModelConfig struct {
	// MaxBody is the largest body, in bytes, in which the model is looked for; a
	// larger one is refused with 413. Default 4 MiB.
	MaxBody int64
	// Realm is named in WWW-Authenticate when nobody is identified. Default
	// "gateway".
	Realm string
	// ErrorHandler answers a refused request. Default [apierror.Abort].
	ErrorHandler func(*gin.Context, error)
}

// RequireModel returns a handler that lets in requests for the models that the
// caller may use ([Identity.Models]: names, or beginnings and "*"). A caller with
// such a list must name its model in a JSON body, once and plainly, but by GET and
// HEAD without a body, which ask no model for anything. It panics on a Realm that
// can't be quoted.
func RequireModel(cfg RequireModelConfig) gin.HandlerFunc {
	if !isQuotable(cfg.Realm) {
		panic(fmt.Sprintf("auth: RequireModelConfig.Realm %q can't be quoted", cfg.Realm))
	}
	if cfg.MaxBody <= 0 {
		cfg.MaxBody = 4 << 20
	}
	if cfg.Realm == "" {
		cfg.Realm = defaultRealm
	}
	if cfg.ErrorHandler == nil {
		cfg.ErrorHandler = apierror.Abort
	}
	return func(c *gin.Context) {
		err := requireModel(c, cfg.MaxBody)
		if err == nil {
			return
		}
		if errors.Is(err, ErrNoIdentity) {
			challenge(c, cfg.Realm, "")
		}
		stop(c, cfg.ErrorHandler, err)
	}
}

func requireModel(c *gin.Context, maxBody int64) error {
	id, ok := FromContext(c.Request.Context())
	if !ok {
		return noIdentity()
	}
	if id.Models == nil {
		return nil
	}
	body, whole, err := peek.Body(c, maxBody)
	if err != nil {
		return err
	}
	if !whole {
		return &apierror.Error{Status: http.StatusRequestEntityTooLarge, Code: "request_too_large", Message: "The request body is too large to find its model in."}
	}
	if len(body) == 0 && (c.Request.Method == http.MethodGet || c.Request.Method == http.MethodHead) {
		return nil
	}
	model, err := peek.String(body, "model")
	if err != nil {
		return &apierror.Error{Status: http.StatusBadRequest, Code: "model_unclear", Message: "The request must name its model once, as a string, in a JSON object.", Err: err}
	}
	if !id.mayUse(model) {
		return &apierror.Error{Status: http.StatusForbidden, Code: "model_not_allowed", Message: "The credential does not allow this model.", Err: ErrForbidden}
	}
	return nil
}

// MayUse reports whether the caller may use a model, as [RequireModel] has it; without an
// identity it may not.
func MayUse(ctx context.Context, model string) bool {
	id, ok := FromContext(ctx)
	return ok && id.mayUse(model)
}

func (id *Identity) mayUse(model string) bool {
	return id.Models == nil || slices.ContainsFunc(id.Models, func(pattern string) bool { return allows(pattern, model) })
}

func allows(pattern, model string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(model, prefix)
	}
	return pattern == model
}
