// Package h1 is an HTTP/1.1 client without goroutines of its own: a request is
// written and its answer read on the goroutine that calls. http.Transport has
// two more for each connection and hands every request and answer over to them,
// which is a third of what a gateway's upstream side costs.
//
// It does what a gateway does most: requests without a body, or with a short one
// that is in memory, over plain TCP. Everything else (TLS, HTTP/2, upgrades,
// streamed uploads, trailers) goes to another RoundTripper.
//
// Answers are parsed by net/http. A connection is used again only if its answer
// ended whole, said nothing about closing, and left no byte behind; before it is
// used again it must still be open and silent. So no byte that an upstream sends
// unasked is ever taken for an answer.
package h1
