package connect

import "net/netip"

// Recheck makes the next request of a name's connections look the name up.
func (d *Dialer) Recheck(host string) { d.name(host).checked.Store(0) }

// Surplus is the number of a name's connections that are to end.
func (d *Dialer) Surplus(host string) int64 { return d.name(host).surplus.Load() }

// Live is the number of connections to an address of a name.
func (d *Dialer) Live(host, address string) int {
	n := d.name(host)
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.place(netip.MustParseAddr(address)).live
}
