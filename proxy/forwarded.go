package proxy

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/ginfer/ginfer/internal/unixsock"
)

// isForwarding reports whether a header identifies the client. Only this gateway and the
// proxies that it trusts may set it.
func isForwarding(name string) bool {
	switch name {
	case "Forwarded", "X-Real-Ip", "X-Client-Ip", "X-Cluster-Client-Ip", "Client-Ip", "True-Client-Ip":
		return true
	}
	return strings.HasPrefix(name, "X-Forwarded-")
}

// forward sets X-Forwarded-For, -Host and -Proto and Forwarded (RFC 7239). Those of a trusted
// peer are kept and extended. The four values are stored in room. A peer without an address is
// "unknown" in Forwarded; X-Forwarded-For has no such word.
func (p *Proxy) forward(h http.Header, in *http.Request, room []string) {
	peer := remoteIP(in.RemoteAddr)
	proto := "http"
	if in.TLS != nil {
		proto = "https"
	}
	xff, host, forwarded := peer, in.Host, element(peer, in.Host, proto)
	if peer == unknown {
		xff = ""
	}
	if p.trusts(in, peer) {
		for name, values := range in.Header {
			if isForwarding(name) {
				h[name] = slices.Clip(values)
			}
		}
		xff = appendTo(in.Header["X-Forwarded-For"], xff)
		host = firstOf(in.Header["X-Forwarded-Host"], host)
		proto = firstOf(in.Header["X-Forwarded-Proto"], proto)
		forwarded = appendTo(in.Header["Forwarded"], forwarded)
	}
	room[0], room[1], room[2], room[3] = xff, host, proto, forwarded
	if xff != "" {
		h["X-Forwarded-For"] = room[0:1:1]
	}
	h["X-Forwarded-Host"] = room[1:2:2]
	h["X-Forwarded-Proto"] = room[2:3:3]
	h["Forwarded"] = room[3:4:4]
}

func (p *Proxy) trusts(in *http.Request, peer string) bool {
	if p.cfg.TrustUnix && unixsock.IsPeer(in) {
		return true
	}
	if len(p.cfg.TrustedProxies) == 0 {
		return false
	}
	addr, err := netip.ParseAddr(peer)
	if err != nil {
		return false
	}
	addr = addr.Unmap().WithZone("")
	for _, prefix := range p.cfg.TrustedProxies {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// client returns the client's address: the peer's, or the one that a trusted peer forwards.
func (p *Proxy) client(in *http.Request) string {
	peer := remoteIP(in.RemoteAddr)
	if said := in.Header["X-Forwarded-For"]; len(said) > 0 && p.trusts(in, peer) {
		hops := strings.Split(said[len(said)-1], ",")
		return strings.TrimSpace(hops[len(hops)-1])
	}
	return peer
}

// unknown is a peer without an address (RFC 7239 §6.2), as on a Unix socket.
const unknown = "unknown"

// remoteIP returns the peer's address without the port, or unknown.
func remoteIP(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil || host == "" {
		return unknown
	}
	return host
}

// element returns this hop's element of Forwarded.
func element(peer, host, proto string) string {
	var b strings.Builder
	b.Grow(32 + len(peer) + len(host))
	b.WriteString("for=")
	if strings.Contains(peer, ":") {
		b.WriteString(`"[` + peer + `]"`)
	} else {
		b.WriteString(peer)
	}
	if host != "" {
		b.WriteString(`;host="`)
		writeQuoted(&b, host)
		b.WriteByte('"')
	}
	b.WriteString(";proto=" + proto)
	return b.String()
}

func writeQuoted(b *strings.Builder, s string) {
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
}

func appendTo(before []string, v string) string {
	if v == "" {
		return strings.Join(before, ", ")
	}
	if len(before) == 0 {
		return v
	}
	return strings.Join(before, ", ") + ", " + v
}

func firstOf(values []string, def string) string {
	if len(values) == 0 || values[0] == "" {
		return def
	}
	return values[0]
}
