// Package unixsock is how Unix sockets are named in URLs and recognized as peers.
//
// A server on a socket has the URL unix:/run/vllm.sock, with a base path unix:/run/vllm.sock:/v1,
// as in nginx; unix:@name is an abstract socket of Linux. Within a URL for http.RoundTripper the
// socket is the host, in an encoded form that a dialer decodes.
package unixsock

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/ginfer/ginfer/internal/ginctx"
)

// Scheme is the scheme of a socket's URL.
const Scheme = "unix"

// ErrPeer is the reason why a client has no IP address: it is on a Unix socket.
var ErrPeer = errors.New("the peer is on a Unix socket")

// Name is the word for Unix sockets in lists of addresses, and the key of their peers.
const Name = "unix"

// Parse returns the HTTP URL for the URL of a socket.
func Parse(raw string) (*url.URL, error) {
	rest, _ := strings.CutPrefix(raw, Scheme+":")
	if strings.HasPrefix(rest, "//") {
		rest = "/" + strings.TrimLeft(rest, "/")
	}
	socket, base, _ := strings.Cut(rest, ":")
	switch {
	case len(socket) < 2 || socket[0] != '/' && socket[0] != '@':
		return nil, errors.New("the path of a Unix socket must be absolute, as in unix:/run/vllm.sock")
	case base != "" && base[0] != '/' || strings.ContainsAny(base, "?#"):
		return nil, errors.New("only a path may follow the socket, as in unix:/run/vllm.sock:/v1")
	}
	u, err := url.Parse("http://unix" + base)
	if err != nil {
		return nil, errors.New("the path after the socket is not valid")
	}
	u.Host = url.QueryEscape(socket)
	return u, nil
}

// IsHost reports whether the host of a URL is a socket.
func IsHost(host string) bool {
	return strings.HasPrefix(host, "%2F") || strings.HasPrefix(host, "%40")
}

// Dial returns a dial function that connects to sockets itself, and to all else with next.
func Dial(next func(ctx context.Context, network, address string) (net.Conn, error)) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if host, _, err := net.SplitHostPort(address); err == nil && IsHost(host) {
			if path, err := url.QueryUnescape(host); err == nil {
				return next(ctx, "unix", path)
			}
		}
		return next(ctx, network, address)
	}
}

// Proxy returns next, the proxy function of an http.Transport, with no proxy for sockets.
func Proxy(next func(*http.Request) (*url.URL, error)) func(*http.Request) (*url.URL, error) {
	if next == nil {
		return nil
	}
	return func(r *http.Request) (*url.URL, error) {
		if IsHost(r.URL.Host) {
			return nil, nil // no proxy
		}
		return next(r)
	}
}

// IsPeer reports whether a request came over a Unix socket. The address of such a peer has no
// IP address: it is "@", a path, or on some platforms empty.
func IsPeer(r *http.Request) bool {
	if strings.HasPrefix(r.RemoteAddr, "@") || strings.HasPrefix(r.RemoteAddr, "/") {
		return true
	}
	local, _ := ginctx.Value(r.Context(), http.LocalAddrContextKey).(net.Addr)
	return r.RemoteAddr == "" && local != nil && local.Network() == "unix"
}
