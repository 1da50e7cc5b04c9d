// Package routing selects the model version that serves a request, and sends the request
// to that version's upstream.
//
// A [Table], usually read from JSON by [ParseTable], lists routes: the model, the
// conditions and the weight with which a version receives requests.
//
//	{"routes": [
//	  {"model": "demo", "version": "v1.3", "conditions": {"headers": {"beta-user": "true"}}},
//	  {"model": "demo", "version": "v1.2", "weight": 90},
//	  {"model": "demo", "version": "v1.3", "weight": 10, "fallback": ["v1.2"]}
//	]}
//
// A [Router] works in two places. In front, its Middleware makes one decision per request
// and stores it in the request's context, for [FromContext]. Behind the proxy, its Transport
// sends each attempt to the upstream of the decided version, writes the upstream's model
// name into the body, and walks the fallback chain. The response headers X-Model-Version and
// X-Model name the version that served it, and X-Fallback-From the one that it replaced.
//
//	router, err := routing.New(routing.Config{Table: table, StickyHeader: "X-User-Id",
//		Upstreams: map[string]http.RoundTripper{"v1.2": stable, "v1.3": canary}})
//	gateway, err := proxy.New(proxy.Config{Transport: router.Transport()})
//	r.POST("/v1/chat/completions", router.Middleware(), gateway.Handler())
//
// Of the routes for its model a request takes:
//
//  1. the first route with conditions that it meets, and no weight;
//  2. else one of the routes with a weight and without unmet conditions. A hash of
//     the user selects it: a user always gets the same version, and no user loses a
//     version when its weight is raised;
//  3. else the first route with neither.
//
// The user is identified by the sticky header, else by the identity, else by a cookie.
//
// When a version fails, the versions of its route's fallback follow in order, of the same or
// of other models, each in an attempt of its own. That is so after errors that another
// server or another credential may not repeat (429, 5xx, a spent or refused credential of
// the operator, an empty response); when the request was too long, a version with a larger
// context follows. A version with [Capabilities] is skipped, also the first one, by requests
// that need more: tools, a response that fits a JSON schema, images, a longer context. If no
// version has what is needed, the first one is called, as its own error is the most precise.
//
// Fallbacks are extra attempts: they count against proxy.Retry.Attempts and its budget, which
// allows a fifth of the requests by default. When a whole version is down, the others get its
// error until circuits open; raise Retry.BudgetRatio to 1 where that matters. Give each version
// a balance.Pool of its own: in a pool that two versions share, the failures of one eject an
// endpoint for both.
//
//	{"routes": [
//	  {"model": "small", "version": "llama-8b", "capabilities": {"tools": true, "context": 8192}, "fallback": ["gpt-mini"]},
//	  {"model": "mini", "version": "gpt-mini", "upstream": "openai"}
//	]}
//
// A route may have a [Mirror], which gets copies of its requests (shadow traffic). Its
// responses are discarded. Package rollout raises a version's weight step by step while
// measurements show that it is no worse.
//
// What happens on failure: a request without a route is refused with 404, an ambiguous one
// (two models, a path with dot segments) with 400, and a Transport without a decision fails
// (closed). A table with faults is refused as a whole, with every fault named, and the
// previous one stays in force.
package routing
