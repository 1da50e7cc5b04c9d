// Package routing decides which version of which model answers a request, and
// sends it there.
//
// A [Table], usually read from JSON by [ParseTable], lists routes: for which
// model and under which conditions a version takes requests, and with what
// weight.
//
//	{"routes": [
//	  {"model": "demo", "version": "v1.3", "conditions": {"headers": {"beta-user": "true"}}},
//	  {"model": "demo", "version": "v1.2", "weight": 90},
//	  {"model": "demo", "version": "v1.3", "weight": 10, "fallback": ["v1.2"]}
//	]}
//
// A [Router] works in two places. In front, its Middleware decides, once per
// request, and keeps the decision in the request's context, where [FromContext]
// finds it. Behind the proxy, its Transport sends each attempt to the decided
// version's upstream, puts the upstream's model name into the body, and walks
// the fallback chain. Responses say who gave them in X-Model-Version and X-Model,
// and in X-Fallback-From whose place that one took.
//
//	router, err := routing.New(routing.Config{Table: table, StickyHeader: "X-User-Id",
//		Upstreams: map[string]http.RoundTripper{"v1.2": stable, "v1.3": canary}})
//	gateway, err := proxy.New(proxy.Config{Transport: router.Transport()})
//	r.POST("/v1/chat/completions", router.Middleware(), gateway.Handler())
//
// How a request finds its route, among those for its model:
//
//  1. the first route with conditions and no weight whose conditions it meets;
//  2. else one of the routes with a weight whose conditions, if any, it meets:
//     by a hash of the user, so that the same user always gets the same version,
//     and raising a version's weight never takes a user away from it;
//  3. else the first route with neither.
//
// A version that fails is followed by those of its route's fallback, in order, of
// the same or of other models, each by an attempt of its own: after errors that another
// server or another credential may not repeat (429, 5xx, a spent or refused credential of
// the operator, an empty response), and by one with more room when the request was too
// long. A version with [Capabilities] is passed over, the
// first one too, by requests that need more: tools, a response that fits a JSON
// schema, images, a longer context. Where none can do it the first one is asked:
// its own error says best what is wrong.
//
//	{"routes": [
//	  {"model": "small", "version": "llama-8b", "capabilities": {"tools": true, "context": 8192}, "fallback": ["gpt-mini"]},
//	  {"model": "mini", "version": "gpt-mini", "upstream": "openai"}
//	]}
//
// The user is who the sticky header, else the identity, else a cookie says.
//
// A route may have a [Mirror], which gets copies of its requests and whose answers are
// thrown away.
//
// A [Rollout] divides the weights of two of the routes by what it measures: the new
// version gets more step by step while it is no worse, and nothing as soon as it is.
//
//	rollout, err := routing.NewRollout(routing.RolloutConfig{Model: "demo", Stable: "v1.2", Canary: "v1.3"})
//	router, err := routing.New(routing.Config{Rollouts: []*routing.Rollout{rollout}, ...})
//	go rollout.Run(ctx)
//
// What happens on failure: a request without a route is refused with 404, an
// ambiguous one (two models, a path with dot segments) with 400, and a Transport
// without a decision fails (closed). A bad table is refused whole, with every
// fault named, and the one before stays in force. A rollout whose store does
// not answer stays as it is, but for rolling back, and gives its canary nothing if
// it was never read.
package routing
