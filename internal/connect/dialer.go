package connect

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

// attemptDelay is the time after which the next address of a name is tried beside the one that does
// not respond (RFC 8305 §5); it is net.Dialer's.
const attemptDelay = 300 * time.Millisecond

// maxNames bounds the names that are remembered.
const maxNames = 1024

// Dialer opens TCP connections with a Lifetime. It is safe for concurrent use.
type Dialer struct {
	net.Dialer
	Lifetime

	mu    sync.Mutex
	names map[string]*name
}

// DialContext opens a connection. A name's addresses are tried one after the other, or beside each
// other if one does not respond; the one with the fewest connections is the first.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" || isAddress(host) || network == "unix" {
		nc, err := d.Dialer.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return d.wrap(nc, nil, nil), nil
	}
	if d.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.Timeout)
		defer cancel()
	}
	n := d.name(host)
	addrs, err := n.lookup(ctx)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	order := n.arrange(addrs)
	nc, at, err := d.race(ctx, network, port, order)
	p := n.settle(order[0], at, errors.Is(ctx.Err(), context.Canceled))
	if err != nil {
		return nil, err
	}
	return d.wrap(nc, n, p), nil
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

func (d *Dialer) name(host string) *name {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.names[host]
	if n == nil {
		n = &name{places: map[netip.Addr]*place{}, lookup: func(ctx context.Context) ([]netip.Addr, error) {
			addrs, err := cmp.Or(d.Resolver, net.DefaultResolver).LookupNetIP(ctx, "ip", host)
			for i, a := range addrs {
				addrs[i] = a.Unmap()
			}
			return addrs, err
		}}
		n.checked.Store(time.Now().UnixNano())
		if d.names == nil || len(d.names) >= maxNames { // open connections keep theirs
			d.names = map[string]*name{}
		}
		d.names[host] = n
	}
	return n
}

// dialed is the result of one attempt.
type dialed struct {
	net.Conn
	at  netip.Addr
	err error
}

// race connects to the first address, and to the next one after each failure or delay. It returns
// the first connection, or the first error. Late connections are closed.
func (d *Dialer) race(ctx context.Context, network, port string, addrs []netip.Addr) (net.Conn, netip.Addr, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan dialed)
	var first error
	next, running := 0, 0
	for {
		var late <-chan time.Time
		if next < len(addrs) {
			go d.attempt(ctx, network, port, addrs[next], results)
			next++
			running++
		}
		if next < len(addrs) {
			late = time.After(attemptDelay)
		}
		select {
		case r := <-results:
			if r.err == nil {
				return r.Conn, r.at, nil
			}
			first = cmp.Or(first, r.err)
			if running--; running == 0 && next == len(addrs) {
				return nil, netip.Addr{}, first
			}
		case <-late:
		case <-ctx.Done():
			return nil, netip.Addr{}, cmp.Or(first, error(&net.OpError{Op: "dial", Net: network, Err: ctx.Err()}))
		}
	}
}

func (d *Dialer) attempt(ctx context.Context, network, port string, at netip.Addr, results chan<- dialed) {
	nc, err := d.Dialer.DialContext(ctx, network, net.JoinHostPort(at.String(), port))
	select {
	case results <- dialed{nc, at, err}:
	case <-ctx.Done():
		if nc != nil {
			_ = nc.Close()
		}
	}
}
