package ratelimit

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/fault"
	"github.com/ginfer/ginfer/internal/unixsock"
)

var (
	// ErrSkip is returned by a key function when its limit does not apply to the request.
	// Every other error refuses the request.
	ErrSkip = errors.New("ratelimit: the limit does not apply")
	// ErrNoKey is returned when a request has no key for a limit. It is refused (closed)
	// with 400.
	ErrNoKey = errors.New("ratelimit: no key")
)

// maxKey bounds the value of a header that is a key, in bytes.
const maxKey = 512

// Global is the key function of a limit that all requests share.
func Global(*gin.Context) (string, error) { return "*", nil }

// ByIP is a key function that returns the peer's IPv4 address, or the /64 of its IPv6
// address; for all peers on Unix sockets "unix". Behind a reverse proxy, where that proxy is the
// peer, use [ByAddr] instead.
func ByIP(c *gin.Context) (string, error) { return byPeer(c) }

// ByAddr is ByIP for the address that a function returns, as auth.IPFilter.ClientIP, which
// uses X-Forwarded-For from trusted proxies only. Clients on a Unix socket that is no trusted
// proxy have one key together, "unix". Do not use Gin's ClientIP, which trusts
// every peer by default.
func ByAddr(of func(*http.Request) (netip.Addr, error)) func(*gin.Context) (string, error) {
	return func(c *gin.Context) (string, error) {
		addr, err := of(c.Request)
		if errors.Is(err, unixsock.ErrPeer) {
			return unixsock.Name, nil
		}
		if err != nil {
			return "", noKey("The client's address is unknown.", err)
		}
		return network(addr), nil
	}
}

func byPeer(c *gin.Context) (string, error) {
	peer, err := netip.ParseAddrPort(c.Request.RemoteAddr)
	if err != nil && unixsock.IsPeer(c.Request) {
		return unixsock.Name, nil
	}
	if err != nil {
		return "", noKey("The client's address is unknown.", nil)
	}
	return network(peer.Addr()), nil
}

// network returns the network of one subscriber: an IPv4 address or a /64 of IPv6.
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

// ByHeader returns a key function that returns the value of a header. Use it only for headers
// that a trusted component sets, as a client that sets it escapes its limit. Requests without
// the header, or with several, are refused.
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

// Join returns a key function that combines several keys: each combination has its own
// bucket. If one of them returns [ErrSkip], so does the joined function.
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

// escape makes joined parts unambiguous: ("a,b", "c") is not ("a", "b,c").
var escape = strings.NewReplacer(",", `\,`, `\`, `\\`) //nolint:gochecknoglobals // never changes

func noKey(message string, err error) error {
	return &apierror.Error{Status: http.StatusBadRequest, Code: "no_limit_key", Message: message, Err: fault.Join(ErrNoKey, err)}
}
