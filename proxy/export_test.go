package proxy

import "net/http"

// HTTPTransport returns the http.Transport that t uses for requests that it does not make itself.
func HTTPTransport(t *Transport) *http.Transport { return t.rest.Transport }

// Used returns the memory in use, in bytes.
func (b *Bodies) Used() int64 { return b.bodies.Used() }
