// Package stream writes, reads, guards and meters streams of server-sent events.
//
// [Streams.Middleware] stands before the handler that streams, a proxy or your own, and guards
// every response of type text/event-stream: with a comment during silence, so that no
// intermediary closes the connection; a deadline for each write, so that a client that does not
// read holds no resources; an idle and a total limit; and a drain that lets streams end before
// the process does.
//
//	streams, err := stream.New(stream.Config{})
//	r.POST("/v1/chat/completions", streams.Middleware(), gateway.Handler())
//	// at the end of the process:
//	err = streams.Drain(ctx)
//
// [Writer] writes events, [Reader] reads them, and [Hub] keeps the latest events of each stream
// so that a client that lost its connection can resume (Last-Event-ID).
//
// [Meter.Transport] stands above the balancer. It counts the tokens of every attempt as the
// server reports them, estimates and flags what the server does not report, and works however
// the response ends. It never fails a request: if an upstream rejects the request for usage,
// the request is sent again without it, and later requests to that upstream are not changed for
// a while.
//
//	meter, err := stream.NewMeter(stream.MeterConfig{Report: ratelimit.Report})
//	upstream := meter.Transport(pool)
//
// [Dialects] describe the APIs of model servers that this module does not know, so that their
// responses can be read as well.
//
// Place the middleware after everything that may reject a request, and right before the proxy.
// Responses of other types pass unchanged, but for the write deadline.
//
// What happens on failure: a stream that reaches a limit gets an error event, in the format of
// the requested API and without [DONE], and its connection is cut (closed), so that no client
// takes it for complete. An unfinished event is only cut. The meter fails
// open: it never fails a request.
//
// A compressing middleware may stand before this one: events, heartbeats and errors are flushed
// through it. Deadlines need a way to the connection: response writers between have an Unwrap
// method or embed the one below. For others, put this middleware or one of package observe before
// them; without, a client that does not read is bounded by http.Server.WriteTimeout alone, and a
// warning is logged once. Below http.TimeoutHandler, which buffers, nothing is streamed.
//
// To read the code, start at Middleware in middleware.go, then guard.go (the writes) and limits.go
// (the timer). The meter is in meter.go and tally.go.
//
// The format is that of the WHATWG HTML standard, §9.2
// (https://html.spec.whatwg.org/multipage/server-sent-events.html).
package stream
