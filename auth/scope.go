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
	"github.com/ginfer/ginfer/internal/body"
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
	// Realm is named in WWW-Authenticate when nobody is identified. Default
	// "gateway".
	Realm string
	// ErrorHandler answers a refused request. Default [apierror.Abort].
	ErrorHandler func(*gin.Context, error)
}

// RequireModel returns a handler that lets in requests for the models that the
// caller may use ([Identity.Models]: names, or beginnings and "*"). A caller with
// such a list must name its model once and plainly, in a JSON body, a form, the path or the
// query; where several places name one, all must be allowed. Only GET and HEAD without a
// body and without an upgrade need none: they ask no model for anything. A body that is
// larger than what is held (proxy.Bodies) is refused with 413: nobody can tell what the
// rest of it says. It panics on a Realm that can't be quoted.
func RequireModel(cfg RequireModelConfig) gin.HandlerFunc {
	if !isQuotable(cfg.Realm) {
		panic(fmt.Sprintf("auth: RequireModelConfig.Realm %q can't be quoted", cfg.Realm))
	}
	if cfg.Realm == "" {
		cfg.Realm = defaultRealm
	}
	if cfg.ErrorHandler == nil {
		cfg.ErrorHandler = apierror.Abort
	}
	return func(c *gin.Context) {
		err := requireModel(c)
		if err == nil {
			return
		}
		if errors.Is(err, ErrNoIdentity) {
			challenge(c, cfg.Realm, "")
		}
		stop(c, cfg.ErrorHandler, err)
	}
}

func requireModel(c *gin.Context) error {
	id, ok := FromContext(c.Request.Context())
	if !ok {
		return noIdentity()
	}
	if id.Models == nil {
		return nil
	}
	held, err := body.Hold(c)
	if err != nil {
		return err
	}
	models, err := modelsOf(c, held)
	if err != nil {
		return err
	}
	if len(models) == 0 && (held.Len() > 0 || !asksNothing(c.Request)) {
		return unclear(nil)
	}
	for _, model := range models {
		if !id.mayUse(model) {
			return &apierror.Error{Status: http.StatusForbidden, Code: "model_not_allowed", Message: "The credential does not allow this model.", Err: ErrForbidden}
		}
	}
	return nil
}

// modelsOf are all the models that some upstream could take the request's for.
func modelsOf(c *gin.Context, held *body.Held) ([]string, error) {
	model, err := held.Model()
	switch {
	case err != nil && apierror.From(err).Status != http.StatusBadRequest:
		body.Drain(c)
		return nil, err
	case err != nil:
		return nil, unclear(err)
	case !held.Whole && held.Len() > 0: // the rest of it may name another
		body.Drain(c)
		return nil, body.TooLarge(body.From(c.Request.Context()).Limit())
	case !held.Whole: // it flows, so nobody sees what it asks for
		return nil, unclear(nil)
	}
	models := c.Request.URL.Query()["model"]
	for _, name := range [...]string{model, held.Request().BodyModel} {
		if name != "" {
			models = append(models, name)
		}
	}
	return models, nil
}

func asksNothing(r *http.Request) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && r.Header.Get("Upgrade") == ""
}

func unclear(err error) error {
	return &apierror.Error{Status: http.StatusBadRequest, Code: "model_unclear", Message: "The request must name its model once, as a string: in its JSON object or form, in the path or in the query.", Err: err}
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
