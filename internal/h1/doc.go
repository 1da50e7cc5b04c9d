// Package h1 is an HTTP/1.1 client without goroutines per connection: it writes a request and reads
// its response on the calling goroutine. http.Transport hands every request and response over
// to two more goroutines per connection, a third of the cost of a gateway's upstream side.
//
// It handles the usual requests of a gateway: without a body, or with one in memory, over plain
// TCP. A body too long for the connection's buffers is sent by a goroutine that ends with it: a
// server may respond before it has read all. Everything else (TLS, HTTP/2, upgrades, streamed uploads, trailers) goes to
// another RoundTripper.
//
// What happens on failure: the request fails (closed) and its connection is closed. Responses are
// parsed by net/http. A connection is reused only if its response was complete, did not ask to
// close, and left no byte behind; before reuse it must still be open and silent. So no byte that
// an upstream sends unasked is ever taken for a response.
package h1
