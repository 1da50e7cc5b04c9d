package config

import (
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
)

// unixScheme begins the address of a Unix socket.
const unixScheme = "unix:"

// PeersOnSockets is the word in Config.TrustedProxies for peers on a Unix socket.
const PeersOnSockets = "unix"

// Socket returns the path of an address such as unix:/run/gateway.sock; "" for any other.
func Socket(address string) string {
	path, ok := strings.CutPrefix(address, unixScheme)
	if !ok {
		return ""
	}
	if rest, ok := strings.CutPrefix(path, "//"); ok {
		return rest
	}
	return path
}

// Mode returns the permissions that a socket_mode describes.
func Mode(text string) (os.FileMode, error) {
	if text == "" {
		return 0o660, nil
	}
	mode, err := strconv.ParseUint(text, 8, 9)
	return os.FileMode(mode), err
}

// listener checks the address of a port and fills in its default.
func (k *checker) listener(path, v, mode, def string) string {
	if _, err := Mode(mode); err != nil {
		k.Add(path+".socket_mode", "%q are not permissions such as 0660", mode)
	}
	if !strings.HasPrefix(v, unixScheme) {
		return k.address(path+".address", v, def)
	}
	if socket := Socket(v); !strings.HasPrefix(socket, "/") && !strings.HasPrefix(socket, "@") {
		k.Add(path+".address", "%q is not the absolute path of a Unix socket, such as unix:/run/gateway.sock", v)
	}
	return v
}

func (k *checker) address(path, v, def string) string {
	if v == "" {
		return def
	}
	if _, _, err := net.SplitHostPort(v); err != nil {
		k.Add(path, "%q is not host:port", v)
	}
	return v
}

// isEndpoint reports whether the URL of a server is valid: http, https, or a Unix socket with an
// optional path.
func isEndpoint(raw string) bool {
	if strings.HasPrefix(raw, unixScheme) {
		socket, base, _ := strings.Cut(Socket(raw), ":")
		return len(socket) > 1 && (socket[0] == '/' || socket[0] == '@') && (base == "" || base[0] == '/')
	}
	v, err := url.Parse(raw)
	return err == nil && (v.Scheme == "http" || v.Scheme == "https") && v.Host != "" && v.RawQuery == "" && v.User == nil
}

// isTrusted reports whether an entry of trusted_proxies is valid.
func isTrusted(text string) bool {
	_, err := netip.ParsePrefix(text)
	return err == nil || text == PeersOnSockets
}
