package proxy

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/unixsock"
	"github.com/ginfer/ginfer/internal/upgrade"
)

// isHop reports whether a header, by its canonical name, belongs to one connection (RFC 9110
// §7.6.1) or is written by the transport.
func isHop(name string) bool {
	switch name {
	case "Connection", "Proxy-Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
		"Proxy-Authenticate", "Proxy-Authorization", "Http2-Settings":
		return true
	}
	return false
}

// isRequestOnly reports whether this hop writes the request header itself.
func isRequestOnly(name string) bool {
	switch name {
	case "Host", "Content-Length", "Expect", "Via":
		return true
	}
	return false
}

// listed returns the header names that Connection lists.
func listed(h http.Header) []string {
	names := upgrade.Tokens(h["Connection"])
	for i, name := range names {
		names[i] = http.CanonicalHeaderKey(name)
	}
	return names
}

// outbound builds the request that every attempt sends, without its body.
func (x *call) outbound() *http.Request {
	in := x.c.Request
	out := &http.Request{
		Method: in.Method, URL: x.p.target(in.URL), Host: in.Host, Header: x.p.outHeader(in, x.upgrades),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	if x.p.cfg.Target != nil {
		out.Host = ""
	}
	if unixsock.IsHost(out.URL.Host) {
		out.Host = "localhost"
	}
	if x.upload != nil {
		out.ContentLength = in.ContentLength
	}
	out.Trailer = x.p.outTrailer(in.Trailer, x.upload != nil)
	if in.ProtoAtLeast(1, 1) {
		x.early.start(x.c)
	}
	return out
}

// target prefixes Config.Target to the request's path and query, both byte for byte. Without a
// target the transport chooses the address; the client's own (absolute form) is never used.
func (p *Proxy) target(in *url.URL) *url.URL {
	u := &url.URL{Scheme: "http", Path: in.Path, RawPath: in.RawPath, RawQuery: in.RawQuery, ForceQuery: in.ForceQuery}
	t := p.cfg.Target
	if t == nil {
		return u
	}
	u.Scheme, u.Host = t.Scheme, t.Host
	if base := strings.TrimSuffix(t.Path, "/"); base != "" {
		u.RawPath = strings.TrimSuffix(t.EscapedPath(), "/") + in.EscapedPath()
		u.Path = base + in.Path
	}
	return u
}

// outTrailer returns the trailers that may follow the body upstream. Of an upload only the
// names are known yet: its trailers pass if all of them may.
func (p *Proxy) outTrailer(in http.Header, upload bool) http.Header {
	if len(in) == 0 {
		return nil
	}
	out := make(http.Header, len(in))
	for name, values := range in {
		if mayTrail(name) && !isForwarding(name) && (p.cfg.AllowUnderscores || !strings.Contains(name, "_")) {
			out[name] = values
		}
	}
	switch {
	case !upload:
		return out
	case len(out) == len(in):
		return in // its values arrive with the body's end
	}
	return nil
}

func (p *Proxy) outHeader(in *http.Request, upgrades bool) http.Header {
	own := new([5]string) // one allocation for the values that this hop adds
	h := make(http.Header, len(in.Header)+len(own))
	drop := listed(in.Header)
	for name, values := range in.Header {
		if isHop(name) || isRequestOnly(name) || isForwarding(name) || !p.cfg.AllowUnderscores && strings.Contains(name, "_") {
			continue
		}
		h[name] = slices.Clip(values)
	}
	for _, name := range drop {
		delete(h, name)
	}
	if slices.ContainsFunc(in.Header["Te"], func(v string) bool { return strings.Contains(strings.ToLower(v), "trailers") }) {
		h["Te"] = []string{"trailers"} // required by gRPC
	}
	if _, ok := h["User-Agent"]; !ok {
		h["User-Agent"] = nil // keeps the transport from adding its own
	}
	if upgrades {
		h["Connection"], h["Upgrade"] = []string{"Upgrade"}, []string{upgrade.WebSocket}
	}
	p.forward(h, in, own[1:])
	own[0] = p.addVia(in)
	h["Via"] = own[0:1:1]
	return h
}

// copyHeader adds the upstream's headers to those that middlewares have set, by the rules of
// [exchange.MergeHeader]. The gateway's own rate limit headers stay.
func copyHeader(dst, src http.Header) {
	drop := listed(src)
	exchange.MergeHeader(dst, src, func(name string) bool {
		switch {
		case isHop(name):
			return true
		case exchange.IsJoined(name):
			return false
		case isLimit(name) && has(dst, name):
			return true
		}
		return len(drop) > 0 && slices.Contains(drop, name)
	})
}

// isLimit reports whether a header describes a rate limit. A client reads one per name, and the
// gateway's limit is nearer than that of its account at the upstream.
func isLimit(name string) bool {
	return strings.HasPrefix(name, "X-Ratelimit-") || strings.HasPrefix(name, "Ratelimit")
}

func has(h http.Header, name string) bool {
	_, ok := h[name]
	return ok
}

// addVia appends this hop to the request's Via (RFC 9110 §7.6.3).
func (p *Proxy) addVia(in *http.Request) string {
	var own string
	switch {
	case in.ProtoMajor == 2:
		own = p.via[1]
	case in.ProtoAtLeast(1, 1):
		own = p.via[0]
	default:
		own = "1.0 " + p.cfg.Via
	}
	if before := in.Header["Via"]; len(before) > 0 {
		return strings.Join(before, ", ") + ", " + own
	}
	return own
}

func seenBefore(h http.Header, pseudonym string) bool {
	for _, v := range h["Via"] {
		for hop := range strings.SplitSeq(v, ",") {
			if fields := strings.Fields(hop); len(fields) > 1 && strings.EqualFold(fields[1], pseudonym) {
				return true
			}
		}
	}
	return false
}

func checkVia(v string) error {
	if strings.ContainsFunc(v, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	}) {
		return fmt.Errorf("proxy: Config.Via %q: must be a token (RFC 9110 §5.6.2)", v)
	}
	return nil
}

func randomPseudonym() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return "ginfer-" + hex.EncodeToString(b[:])
}
