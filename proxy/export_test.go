package proxy

import "net/http"

// HTTPTransport is the one that a Transport uses for what it does not do itself.
func HTTPTransport(t *Transport) *http.Transport { return t.rest.Transport }
