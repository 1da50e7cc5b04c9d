package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/ipset"
)

// maxHops bounds the X-Forwarded-For list that is walked.
const maxHops = 100

// ErrAddress: the client's address can't be told. Such a request is refused.
var ErrAddress = errors.New("auth: client address unclear")

// IPFilterConfig says which addresses may call.
type IPFilterConfig struct {
	// Allow are the ranges that may; empty: all that Deny does not name.
	Allow []string
	// Deny are the ranges that may not, whatever Allow says.
	Deny []string
	// TrustedProxies are the peers whose X-Forwarded-For is believed. Default none:
	// the peer is the client.
	TrustedProxies []string
	// AllowLocal lets in peers without an address, as on a Unix socket, whatever
	// the lists and X-Forwarded-For say. Default false.
	AllowLocal bool
	// ErrorHandler answers a refused request. Default [apierror.Abort].
	ErrorHandler func(*gin.Context, error)
	// OnEvent is told of refused requests. Optional.
	OnEvent func(context.Context, IPEvent)
}

// IPEvent tells of a refused request.
type IPEvent struct {
	// Client is the address; invalid when it can't be told.
	Client netip.Addr
	// Err is why.
	Err error
}

// IPFilter refuses addresses. It is safe for concurrent use.
type IPFilter struct {
	cfg     IPFilterConfig
	trusted *ipset.Set
	lists   atomic.Pointer[ipLists]
}

type ipLists struct{ allow, deny *ipset.Set }

// NewIPFilter checks cfg and returns a filter. The error joins every fault.
func NewIPFilter(cfg IPFilterConfig) (*IPFilter, error) {
	trusted, err := ipset.Parse(cfg.TrustedProxies)
	if err != nil {
		err = fmt.Errorf("auth: IPFilterConfig.TrustedProxies: %w", err)
	}
	if cfg.ErrorHandler == nil {
		cfg.ErrorHandler = apierror.Abort
	}
	f := &IPFilter{cfg: cfg, trusted: trusted}
	if err := errors.Join(err, f.Set(cfg.Allow, cfg.Deny)); err != nil {
		return nil, err
	}
	return f, nil
}

// Set puts other lists into force, for requests from now on. With a fault in
// either, both stay as they were.
func (f *IPFilter) Set(allow, deny []string) error {
	a, allowErr := ipset.Parse(allow)
	if allowErr != nil {
		allowErr = fmt.Errorf("auth: IPFilterConfig.Allow: %w", allowErr)
	}
	d, denyErr := ipset.Parse(deny)
	if denyErr != nil {
		denyErr = fmt.Errorf("auth: IPFilterConfig.Deny: %w", denyErr)
	}
	if err := errors.Join(allowErr, denyErr); err != nil {
		return err
	}
	f.lists.Store(&ipLists{a, d})
	return nil
}

// Middleware returns the handler that lets in or refuses. It costs next to
// nothing and comes before everything else.
func (f *IPFilter) Middleware() gin.HandlerFunc {
	return func(c *gin.Context) {
		addr, err := f.ClientIP(c.Request)
		if err == nil && f.allowed(addr) || err != nil && f.cfg.AllowLocal && isLocal(c.Request.RemoteAddr) {
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

// isLocal reports whether a peer has no IP address at all.
func isLocal(remote string) bool {
	_, err := netip.ParseAddrPort(remote)
	return err != nil && (remote == "" || remote == "@" || strings.HasPrefix(remote, "/"))
}

// ClientIP returns the address of the client: the peer, or, behind trusted
// proxies, the last entry of X-Forwarded-For that is not one of them. No other
// header counts. An IPv4 address in IPv6 (::ffff:192.0.2.1) is the IPv4 one; those
// of translators (64:ff9b::/96) are IPv6 ones. An entry
// on the way there that is no address is [ErrAddress]: a proxy that we trust
// wrote it, or let it pass, and nothing beyond it can be believed.
func (f *IPFilter) ClientIP(r *http.Request) (netip.Addr, error) {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%w: the peer has none", ErrAddress)
	}
	addr := peer.Addr().Unmap().WithZone("")
	if !f.trusted.Contains(addr) {
		return addr, nil
	}
	list := strings.Join(r.Header["X-Forwarded-For"], ",")
	more := strings.TrimSpace(list) != ""
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
	return addr, nil // when all are trusted, the first of them
}

// parseHop reads an entry: an address, with a port or, of IPv6, in brackets.
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
		return netip.Addr{}, fmt.Errorf("%w: an entry of X-Forwarded-For is no address", ErrAddress)
	}
	return addr.Unmap().WithZone(""), nil
}
