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
	"github.com/ginfer/ginfer/internal/upgrade"
)

// Require returns a handler that admits callers with all of the scopes. It panics without
// scopes, or with an invalid one (RFC 6749 §3.3). Use [Authenticator.Require] to keep the
// authenticator's Realm and ErrorHandler.
func Require(scopes ...string) gin.HandlerFunc {
	return require(defaultRealm, apierror.Abort, scopes)
}

// Require is like the function [Require], with the authenticator's Realm and ErrorHandler.
func (a *Authenticator) Require(scopes ...string) gin.HandlerFunc {
	return require(a.cfg.Realm, a.cfg.ErrorHandler, scopes)
}

func require(realm string, refuse func(*gin.Context, error), scopes []string) gin.HandlerFunc {
	if len(scopes) == 0 || slices.ContainsFunc(scopes, func(s string) bool { return s == "" || strings.Contains(s, " ") || !isQuotable(s) }) {
		panic(fmt.Sprintf("auth: Require: invalid scopes %q", scopes))
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

// RequireModelConfig configures [RequireModel]. The zero value is valid.
type RequireModelConfig struct {
	// Realm is the realm in WWW-Authenticate for requests without an identity. Default:
	// "gateway".
	Realm string
	// ErrorHandler responds to refused requests. Default: [apierror.Abort].
	ErrorHandler func(*gin.Context, error)
}

// RequireModel returns a handler that admits requests for the models that the caller may
// use ([Identity.Models]: names, or prefixes that end in "*"). A caller with such a list
// must name its model once and unambiguously, in a JSON body, a form, the path or the
// query; if several places name one, all must be allowed. Only GET and HEAD without a body
// and without an upgrade need no model. A body larger than the replayable body
// (proxy.Bodies) is refused with 413, because its unread rest could name another model.
// RequireModel panics on a Realm that can't be quoted.
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
	if len(models) == 0 && (held.Len() > 0 || !needsNoModel(c.Request)) {
		return unclear(nil)
	}
	for _, model := range models {
		if !id.mayUse(model) {
			return &apierror.Error{Status: http.StatusForbidden, Code: "model_not_allowed", Message: "The credential does not allow this model.", Err: ErrForbidden}
		}
	}
	return nil
}

// modelsOf returns all the models that an upstream could read from the request.
func modelsOf(c *gin.Context, held *body.Held) ([]string, error) {
	model, err := held.Model()
	switch {
	case err != nil && apierror.From(err).Status != http.StatusBadRequest:
		body.Drain(c)
		return nil, err
	case err != nil:
		return nil, unclear(err)
	case !held.Whole && held.Len() > 0: // the unread rest may name another
		body.Drain(c)
		return nil, body.TooLarge(body.From(c.Request.Context()).Limit())
	case !held.Whole: // the body is streamed, so its model is never read
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

func needsNoModel(r *http.Request) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && !upgrade.Requested(r)
}

func unclear(err error) error {
	return &apierror.Error{Status: http.StatusBadRequest, Code: "model_unclear", Message: "The request must name its model once, as a string: in its JSON object or form, in the path or in the query.", Err: err}
}

// MayUse reports whether the caller in ctx may use a model, by the rules of [RequireModel].
// Without an identity it returns false.
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
