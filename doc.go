// Package ginfer is the entrance to a library of Gin middlewares and upstream transports, from
// which a team assembles its own gateway in front of AI inference services. It contains no code:
// import the packages below one by one.
//
// A request passes the parts of a gateway in this order, each of which is optional:
//
//	observe    access log, traces, metrics
//	apierror   Recovery: a panic becomes an error in the form of the API
//	proxy      Bodies: limits for the request bodies that the following stages read
//	auth       who calls: JWT, API keys, client certificates, client addresses
//	routing    which version of a model responds, and what replaces it when it fails
//	ratelimit  requests, tokens and concurrency per caller
//	cache      stored and coalesced responses
//	stream     heartbeats, slow clients and limits of event streams
//	proxy      the relay, with retries and hedges
//
// Each attempt of the relay then passes http.RoundTrippers:
//
//	routing    the upstream of the decided version
//	stream     Meter: usage and times of the response
//	balance    a pool selects an endpoint
//	breaker    a circuit refuses an endpoint that fails
//	proxy      Transport: the connection
//
// Package queue, with queue/batch and queue/jobs, serves batches and jobs; routing/rollout
// releases a new version step by step. examples/minimal is a gateway in one file,
// examples/gateway a complete one; its chain.go is this order in code.
package ginfer
