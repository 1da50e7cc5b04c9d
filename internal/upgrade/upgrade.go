// Package upgrade tells the requests that switch protocols from those that only offer it.
//
// A client may offer another protocol with any request, as Java's HttpClient offers h2c with
// each. A server that does not want it responds as if nothing was offered (RFC 9110 §7.8).
package upgrade

import (
	"net/http"
	"slices"
	"strings"
)

// WebSocket is the only protocol that the gateway switches to: any other would bypass the stages
// that inspect requests.
const WebSocket = "websocket"

// Requested reports whether the client wants to switch to WebSocket. All other offers are
// ignored.
func Requested(r *http.Request) bool {
	return len(r.Header["Upgrade"]) > 0 && slices.Contains(Tokens(r.Header["Connection"]), "upgrade") &&
		slices.Contains(Tokens(r.Header["Upgrade"]), WebSocket)
}

// Tokens returns the elements of a list of tokens, in lower case.
func Tokens(values []string) []string {
	var tokens []string
	for _, v := range values {
		for t := range strings.SplitSeq(v, ",") {
			if t = strings.TrimSpace(t); t != "" {
				tokens = append(tokens, strings.ToLower(t))
			}
		}
	}
	return tokens
}
