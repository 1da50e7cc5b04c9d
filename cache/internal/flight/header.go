package flight

import (
	"net/http"
	"slices"
	"strings"
)

// SharedHeader returns the header for all clients: what is set now, without what was set
// before the response, and without what concerns one connection or client.
func SharedHeader(now, before http.Header) http.Header {
	h := make(http.Header, len(now))
	for name, values := range now {
		if len(values) > 0 && !isOwn(name) && !slices.Equal(values, before[name]) {
			h[name] = slices.Clone(values)
		}
	}
	for _, v := range now["Connection"] {
		for name := range strings.SplitSeq(v, ",") {
			delete(h, http.CanonicalHeaderKey(strings.TrimSpace(name)))
		}
	}
	return h
}

// isOwn reports whether a header concerns one connection or one client.
func isOwn(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authentication-Info", "Te",
		"Trailer", "Transfer-Encoding", "Upgrade", "Set-Cookie", "X-Request-Id":
		return true
	}
	return false
}
