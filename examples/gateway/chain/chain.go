// Package chain is the order of everything that a request passes, from the client to the
// endpoint and back. Read it from top to bottom; a stage of your own is a line here.
package chain

import (
	"net/http"
	"slices"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/examples/gateway/live"
)

// Order returns the order for live.New.
func Order() live.Order {
	return live.Order{Outside: outside, Observe: observe, Gate: gate, Inside: inside, Behind: behind}
}

// outside is around all else.
func outside(s *live.Stages, next http.Handler) http.Handler {
	return s.CORS(next) // preflight requests of browsers
}

// observe comes first: it sees refused requests too.
func observe(s *live.Stages) gin.HandlersChain {
	return slices.Concat(
		s.AccessLog(), // a line when the request has ended
		s.Tracing(),   // a span
		s.Metrics(),   // requests, tokens, durations
		s.Recent(),    // /debug/requests
		s.Live(),      // the charts of the page
		s.Route(),     // the name of the group, for all of these
		s.Recovery(),  // a panic becomes 500
	)
}

// gate decides on admission. Then the queue's own paths branch off: /files, /batches and
// /jobs. Requests that the queue sends later pass the gate too, with the identity of their
// submitter.
func gate(s *live.Stages) gin.HandlersChain {
	return slices.Concat(
		s.Bodies(),         // bounds the body, and buffers it for all that follows
		s.Methods(),        // 405
		s.Addresses(),      // stage ip: client addresses
		s.Authentication(), // stage auth: the caller
		s.Scopes(),         // stage auth: the caller's scopes
	)
}

// inside is passed by admitted requests. Responses pass it the other way.
func inside(s *live.Stages) gin.HandlersChain {
	return slices.Concat(
		s.Models(),        // stage auth: the models that the caller may use
		s.Routing(),       // stage routing: the version, and with it the upstream
		s.Feedback(),      // GROUP/feedback, for rollouts
		s.RequestLimits(), // stage limits: rates and budgets of requests
		s.TokenLimits(),   // stage limits: rates and budgets of tokens
		s.Concurrency(),   // stage limits: concurrent requests
		s.Cache(),         // stage cache: stored responses
		s.Streams(),       // stage stream: heartbeats, slow clients
		s.Proxy(live.Through( // forwards, and retries:
			s.OwnOrigins(),  // CORS headers of upstreams are removed
			s.Destination(), // the version's upstream, its fallbacks and mirrors
		)),
	)
}

// behind is passed by each attempt on its way to an upstream.
func behind(l *live.Layers) http.RoundTripper {
	return live.Through(
		l.Tracing(),     // a span for the attempt
		l.Meter(),       // usage and tokens
		l.Headers(),     // the upstream's own headers, such as its API key
		l.Endpoints(),   // selects an endpoint
		l.Breakers(),    // refuses an endpoint with an open circuit
		l.Connections(), // sends the request
	)
}
