// Package auth authenticates callers and authorizes their requests. An [Authenticator]
// verifies the request's credential and puts the caller's [Identity] into its context.
//
//	keys, err := auth.NewAPIKeys(auth.APIKeysConfig{File: "keys.json"})
//	authn, err := auth.New(auth.Config{Verifiers: []auth.Verifier{keys}})
//	r.Use(authn.Middleware())
//	r.POST("/v1/batches", auth.Require("batch"), create)
//
// A [Verifier] checks one kind of credential. The first one that recognizes its kind in the
// request decides, so that a bad token never gets a second chance as another kind.
// [Introspection] takes every Bearer token and comes last. [AddKey] creates an API key.
// [Subject] and [Tenant] are keys for rate limits; [SubjectOf] and [TagsOf] fit
// routing.Config.
//
// Put it first in the chain, before everything that is expensive. The credential's headers
// stay on the request: the proxy's Rewrite decides what is sent upstream. Without one the
// caller's key reaches the upstream.
//
// What happens on failure: a request without a credential, with an invalid one, or with one
// that can't be checked now is refused (fail closed), with 401 or 503. Clients never learn
// why a signature is invalid. Errors and logs contain no secrets.
//
// A cached result costs a request less than a microsecond. In return, a withdrawn key may
// be accepted for a minute ([KeySetConfig].Refresh), a revoked opaque token for half a
// minute ([IntrospectionConfig].CacheTTL), and a removed API key for five seconds.
package auth
