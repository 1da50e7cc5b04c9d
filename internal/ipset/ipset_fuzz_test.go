package ipset_test

import (
	"net/netip"
	"testing"

	"github.com/ginfer/ginfer/internal/ipset"
)

// A set of one range contains what the range does, in any spelling of an address.
func FuzzContains(f *testing.F) {
	f.Add("10.0.0.0/8", "::ffff:10.1.2.3")
	f.Add("::ffff:10.0.0.0/104", "10.1.2.3")
	f.Add("2001:db8::/32", "2001:db8::1%eth0")
	f.Fuzz(func(t *testing.T, text, address string) {
		s, err := ipset.Parse([]string{text})
		addr, addrErr := netip.ParseAddr(address)
		if err != nil || addrErr != nil {
			return
		}
		addr = addr.Unmap().WithZone("")
		p, err := netip.ParsePrefix(text)
		if err != nil {
			one := netip.MustParseAddr(text).Unmap()
			p = netip.PrefixFrom(one, one.BitLen())
		}
		if p.Addr().Is4In6() {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		if s.Contains(addr) != p.Contains(addr) || s.Contains(addr) != s.Contains(netip.AddrFrom16(addr.As16())) {
			t.Fatalf("%s in %s: %v", addr, text, s.Contains(addr))
		}
	})
}
