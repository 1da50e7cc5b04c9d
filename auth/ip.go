package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/fault"
	"github.com/ginfer/ginfer/internal/ipset"
	"github.com/ginfer/ginfer/internal/unixsock"
)

// maxHops is the largest number of X-Forwarded-For entries that are read.
const maxHops = 100

// ErrAddress is returned when the client's address can't be determined. Such a request is
// refused.
var ErrAddress = errors.New("auth: client address unclear")

// IPFilterConfig configures an IPFilter. Ranges are CIDR prefixes or single addresses.
type IPFilterConfig struct {
	// Allow are the ranges that are let in. Default: all that Deny does not contain.
	Allow []string
	// Deny are the ranges that are refused, even if Allow contains them. Default: none.
	Deny []string
	// TrustedProxies are the ranges of peers with a trusted X-Forwarded-For; "unix" are the
	// peers on a Unix socket. Default: none; the peer is the client.
	TrustedProxies []string
	// AllowLocal lets in peers without an IP address, such as those on a Unix socket,
	// regardless of the lists, and of X-Forwarded-For unless TrustedProxies has "unix".
	// Default: false.
	AllowLocal bool
	// ErrorHandler responds to refused requests. Default: [apierror.Abort].
	ErrorHandler func(*gin.Context, error)
	// OnEvent is called for every refused request. Default: none.
	OnEvent func(context.Context, IPEvent)
}

// IPEvent describes a refused request.
type IPEvent struct {
	// Client is the client's address; the zero Addr when it can't be determined.
	Client netip.Addr
	// Err is the reason.
	Err error
}

// IPFilter admits requests by client address. Use it before the Authenticator, to refuse
// networks rather than callers. It is safe for concurrent use.
type IPFilter struct {
	cfg     IPFilterConfig
	trusted *ipset.Set
	unix    bool // peers on a Unix socket are trusted
	lists   atomic.Pointer[ipLists]
}

type ipLists struct{ allow, deny *ipset.Set }

// NewIPFilter checks cfg and returns an IPFilter. The error joins every fault.
func NewIPFilter(cfg IPFilterConfig) (*IPFilter, error) {
	isUnix := func(s string) bool { return s == unixsock.Name }
	trusted, err := ipset.Parse(slices.DeleteFunc(slices.Clone(cfg.TrustedProxies), isUnix))
	if err != nil {
		err = fmt.Errorf("auth: IPFilterConfig.TrustedProxies: %w", err)
	}
	if cfg.ErrorHandler == nil {
		cfg.ErrorHandler = apierror.Abort
	}
	f := &IPFilter{cfg: cfg, trusted: trusted, unix: slices.ContainsFunc(cfg.TrustedProxies, isUnix)}
	if err := fault.Join(err, f.Set(cfg.Allow, cfg.Deny)); err != nil {
		return nil, err
	}
	return f, nil
}

// Set replaces both lists for the requests that follow. If either has a fault, both stay
// unchanged.
func (f *IPFilter) Set(allow, deny []string) error {
	a, allowErr := ipset.Parse(allow)
	if allowErr != nil {
		allowErr = fmt.Errorf("auth: IPFilterConfig.Allow: %w", allowErr)
	}
	d, denyErr := ipset.Parse(deny)
	if denyErr != nil {
		denyErr = fmt.Errorf("auth: IPFilterConfig.Deny: %w", denyErr)
	}
	if err := fault.Join(allowErr, denyErr); err != nil {
		return err
	}
	f.lists.Store(&ipLists{a, d})
	return nil
}

// Middleware returns the handler that admits or refuses requests. It is cheap; put it first
// in the chain.
func (f *IPFilter) Middleware() gin.HandlerFunc {
	return func(c *gin.Context) {
		addr, err := f.ClientIP(c.Request)
		if err == nil && f.allowed(addr) || f.cfg.AllowLocal && (errors.Is(err, unixsock.ErrPeer) || err != nil && c.Request.RemoteAddr == "") {
			return
		}
		if err == nil {
			err = ErrForbidden
		}
		if f.cfg.OnEvent != nil {
			f.cfg.OnEvent(c.Request.Context(), IPEvent{Client: addr, Err: err})
		}
		stop(c, f.cfg.ErrorHandler, &apierror.Error{Status: http.StatusForbidden, Code: "ip_denied", Message: "Access is denied.", Err: err})
	}
}

func (f *IPFilter) allowed(addr netip.Addr) bool {
	lists := f.lists.Load()
	return !lists.deny.Contains(addr) && (lists.allow.Len() == 0 || lists.allow.Contains(addr))
}

// ClientIP returns the client's address: the peer's, or, behind trusted proxies, the last
// entry of X-Forwarded-For that is not one of them. No other header counts. An IPv4-mapped
// address (::ffff:192.0.2.1) is returned as IPv4; those of translators (64:ff9b::/96) stay
// IPv6. An entry that must be read and is not an address is [ErrAddress]: a trusted proxy
// wrote it or passed it on, so nothing before it can be trusted. So is a peer on a Unix socket
// that is the client itself.
func (f *IPFilter) ClientIP(r *http.Request) (netip.Addr, error) {
	list := strings.Join(r.Header["X-Forwarded-For"], ",")
	more := strings.TrimSpace(list) != ""
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil && unixsock.IsPeer(r) && (!f.unix || !more) {
		return netip.Addr{}, fmt.Errorf("%w: %w", ErrAddress, unixsock.ErrPeer)
	}
	if err != nil && !unixsock.IsPeer(r) {
		return netip.Addr{}, fmt.Errorf("%w: the peer has no IP address", ErrAddress)
	}
	addr := peer.Addr().Unmap().WithZone("")
	if err == nil && !f.trusted.Contains(addr) {
		return addr, nil
	}
	for hops := 1; more; hops++ {
		if hops > maxHops {
			return netip.Addr{}, fmt.Errorf("%w: more than %d hops", ErrAddress, maxHops)
		}
		comma := strings.LastIndexByte(list, ',')
		if addr, err = parseHop(list[comma+1:]); err != nil {
			return netip.Addr{}, err
		}
		more = comma >= 0 && f.trusted.Contains(addr)
		list = list[:max(comma, 0)]
	}
	return addr, nil // all are trusted: the first one
}

// parseHop parses an entry: an address, optionally with a port, or an IPv6 address in
// brackets.
func parseHop(entry string) (netip.Addr, error) {
	entry = strings.Trim(entry, " \t")
	if strings.HasPrefix(entry, "[") && strings.HasSuffix(entry, "]") {
		entry += ":0"
	}
	addr, err := netip.ParseAddr(entry)
	if err != nil {
		var withPort netip.AddrPort
		withPort, err = netip.ParseAddrPort(entry)
		addr = withPort.Addr()
	}
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%w: an entry of X-Forwarded-For is not an address", ErrAddress)
	}
	return addr.Unmap().WithZone(""), nil
}
