package ratelimit

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
)

var (
	// ErrSkip is what a key function returns for requests that its limit is not
	// for. Every other error refuses the request.
	ErrSkip = errors.New("ratelimit: the limit does not apply")
	// ErrNoKey: a request says nothing of what a limit goes by. It is refused
	// (closed).
	ErrNoKey = errors.New("ratelimit: no key")
)

// maxKey is the longest part of a request, in bytes, that a key is made of.
const maxKey = 512

// Global is a key function for a limit that all requests share.
func Global(*gin.Context) (string, error) { return "*", nil }

// ByIP is a key function: the address of the peer, of IPv6 its /64. Behind a
// reverse proxy every peer is that proxy: use [ByAddr] there.
func ByIP(c *gin.Context) (string, error) { return byPeer(c) }

// ByAddr is ByIP for an address found otherwise: [auth.IPFilter.ClientIP] is
// such a function, which believes X-Forwarded-For from the proxies it trusts.
// Gin's ClientIP is not: it believes everybody unless told otherwise.
func ByAddr(of func(*http.Request) (netip.Addr, error)) func(*gin.Context) (string, error) {
	return func(c *gin.Context) (string, error) {
		addr, err := of(c.Request)
		if err != nil {
			return "", noKey("The client's address can't be told.", err)
		}
		return network(addr), nil
	}
}

func byPeer(c *gin.Context) (string, error) {
	peer, err := netip.ParseAddrPort(c.Request.RemoteAddr)
	if err != nil {
		return "", noKey("The client's address can't be told.", nil)
	}
	return network(peer.Addr()), nil
}

// network is what one subscriber has: an IPv4 address or a /64 of IPv6.
func network(addr netip.Addr) string {
	addr = addr.Unmap().WithZone("")
	if addr.Is4() {
		return addr.String()
	}
	p, err := addr.Prefix(64)
	if err != nil { // the zero Addr
		return "?"
	}
	return p.String()
}

// ByHeader returns a key function that goes by a header. Whoever can change the
// header can change the limit: use it for what a trusted part of the system sets.
// Requests without it, or with several, are refused.
func ByHeader(name string) func(*gin.Context) (string, error) {
	name = http.CanonicalHeaderKey(name)
	return func(c *gin.Context) (string, error) {
		values := c.Request.Header[name]
		if len(values) != 1 || values[0] == "" || len(values[0]) > maxKey {
			return "", noKey("The header "+name+" is needed, once.", nil)
		}
		return values[0], nil
	}
}

// Join returns a key function that goes by all of several: one bucket for each
// combination. When one of them says [ErrSkip], so does Join.
func Join(keys ...func(*gin.Context) (string, error)) func(*gin.Context) (string, error) {
	return func(c *gin.Context) (string, error) {
		parts := make([]string, len(keys))
		for i, key := range keys {
			part, err := key(c)
			if err != nil {
				return "", err
			}
			if part == "" {
				return "", noKey("The request can't be counted.", nil)
			}
			parts[i] = escape.Replace(part)
		}
		return strings.Join(parts, ","), nil
	}
}

// escape keeps joined parts apart: ("a,b", "c") is not ("a", "b,c").
var escape = strings.NewReplacer(",", `\,`, `\`, `\\`) //nolint:gochecknoglobals // never changes

func noKey(message string, err error) error {
	return &apierror.Error{Status: http.StatusBadRequest, Code: "no_limit_key", Message: message, Err: errors.Join(ErrNoKey, err)}
}
