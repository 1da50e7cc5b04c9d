// Package auth finds out who calls, and refuses who may not.
//
//	keys, err := auth.NewAPIKeys(auth.APIKeysConfig{File: "keys.json"})
//	authn, err := auth.New(auth.Config{Verifiers: []auth.Verifier{keys}})
//	r.Use(authn.Middleware())
//	r.POST("/v1/batches", auth.Require("batch"), create)
//
// A [Verifier] knows one kind of credential. They are asked in order; the first
// that recognises its kind in the request decides, so that a bad token is never
// given a second chance as something else. [Introspection] takes every Bearer
// token and comes last. [AddKey] makes an API key. The [Identity] is in the request's
// context for everything that follows; [Subject] and [Tenant] are keys for
// limits, [SubjectOf] and [TagsOf] fit routing.Config.
//
// In the chain it comes first, before everything that costs something. The
// credential's headers stay on the request: the proxy's Rewrite decides what goes
// upstream.
//
// What happens on failure: a request without a credential, with a bad one, or
// one that can't be checked now is refused (closed), with 401 or 503. Why a
// signature did not fit is never said. Secrets are in no error and no log.
//
// What is remembered costs a request less than a microsecond. So it may be up to a
// minute until a withdrawn key ([KeySetConfig].Refresh), half a minute until a
// revoked opaque token ([IntrospectionConfig].CacheTTL), and five seconds until a
// removed API key is refused.
package auth
