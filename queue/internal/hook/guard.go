package hook

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"
)

// ErrForbidden is returned for a URL that must not be called.
var ErrForbidden = errors.New("not an allowed webhook address")

// Guard restricts the addresses of webhooks.
type Guard struct {
	// Hosts are the allowed hosts: names, or ".example.com" for all subdomains. Empty
	// means all.
	Hosts []string
	// Networks are allowed although they are not public.
	Networks []netip.Prefix
	// PlainHTTP allows http:// URLs.
	PlainHTTP bool
}

// maxURL is the longest URL, in bytes.
const maxURL = 2048

// Check parses a URL. The addresses of its host are checked when it is called.
func (g *Guard) Check(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || len(text) > maxURL || u.Host == "" || u.User != nil || u.Opaque != "" || u.Fragment != "" {
		return nil, fmt.Errorf("%w: not a plain URL", ErrForbidden)
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !g.PlainHTTP) {
		return nil, fmt.Errorf("%w: the scheme must be https", ErrForbidden)
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	if len(g.Hosts) > 0 && !slices.ContainsFunc(g.Hosts, func(h string) bool { return isHost(h, host) }) {
		return nil, fmt.Errorf("%w: the host is not on the list", ErrForbidden)
	}
	if ip, err := netip.ParseAddr(host); err == nil && !g.allowed(ip) {
		return nil, fmt.Errorf("%w: the address is not public", ErrForbidden)
	}
	return u, nil
}

func isHost(pattern, host string) bool {
	pattern = strings.ToLower(pattern)
	return pattern == host || strings.HasPrefix(pattern, ".") && strings.HasSuffix(host, pattern)
}

// special are networks that are not public and that netip has no method for.
func special() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
		netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("192.88.99.0/24"), netip.MustParsePrefix("198.18.0.0/15"),
		netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
		netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("100::/64"),
		netip.MustParsePrefix("2001::/23"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("fec0::/10"),
	}
}

func (g *Guard) allowed(ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	in := func(p netip.Prefix) bool { return p.Contains(ip) }
	if slices.ContainsFunc(g.Networks, in) {
		return true
	}
	return ip.IsGlobalUnicast() && !ip.IsPrivate() && !slices.ContainsFunc(special(), in)
}

// Client returns a client that connects only to allowed addresses, whatever a name
// resolves to at that moment. It follows no redirects and uses no proxy.
func (g *Guard) Client(timeout time.Duration) *http.Client {
	dialer := &net.Dialer{Timeout: timeout, ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
		ap, err := netip.ParseAddrPort(address)
		if err != nil || !g.allowed(ap.Addr()) {
			return fmt.Errorf("%w: %s", ErrForbidden, address)
		}
		return nil
	}}
	return &http.Client{
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSHandshakeTimeout: timeout, MaxIdleConnsPerHost: 2, MaxIdleConns: 64,
			IdleConnTimeout: 30 * time.Second, ExpectContinueTimeout: time.Second, MaxResponseHeaderBytes: 64 << 10, ForceAttemptHTTP2: true,
		},
	}
}
