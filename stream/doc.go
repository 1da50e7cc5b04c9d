// Package stream makes, reads and guards streams of server-sent events.
//
// [Streams.Middleware] stands before the handler that streams, a proxy or your
// own, and guards every response of type text/event-stream: a comment in silence,
// so that nothing in between takes it for dead, and which no decoder takes for an event;
// a deadline for each write, so that a client that does not read holds nothing; an idle
// and a total limit; and a drain that lets streams end before the process does.
//
//	streams, err := stream.New(stream.Config{})
//	r.POST("/v1/chat/completions", streams.Middleware(), gateway.Handler())
//	// at the end of the process:
//	err = streams.Drain(ctx)
//
// [Writer] writes events, [Reader] reads them, and [Hub] keeps the latest of
// each stream so that a client that lost its connection can go on where it was
// (Last-Event-ID).
//
// [Meter.Transport] stands behind, above the balancer: it counts the tokens of every
// attempt, as the server says, and estimates and flags what it does not say, whatever way
// the response ends. It never fails a request: an upstream that refuses to be asked for
// usage is asked again without that, and left alone with it for a while.
//
//	meter, err := stream.NewMeter(stream.MeterConfig{Report: ratelimit.Report})
//	upstream := meter.Transport(pool)
//
// [Dialects] describe the APIs of model servers that this module does not know, so that
// their responses are read as well.
//
// In the chain the middleware comes after everything that may still refuse a request, and
// right before the proxy. Responses of other types pass unchanged, but for the
// write deadline.
//
// What happens on failure: a stream that reaches a limit gets an error event, in the
// form of the API that the request calls, and no [DONE], and its connection is cut, so
// that no client takes it for complete. Within an unfinished event nothing is added; it is only cut.
//
// The format is that of the WHATWG HTML standard, §9.2
// (https://html.spec.whatwg.org/multipage/server-sent-events.html).
package stream
