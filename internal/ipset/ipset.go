// Package ipset is a set of CIDR ranges with fast look-ups of addresses.
package ipset

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/gaissmai/bart"
	"github.com/ginfer/ginfer/internal/fault"
)

// Set is an immutable set of addresses, safe for concurrent use.
type Set struct {
	table *bart.Lite
	size  int
}

// Parse parses ranges and single addresses. The error joins a fault for each invalid one,
// with its index. An IPv4-mapped range (::ffff:10.0.0.0/104) is the IPv4 one.
func Parse(ranges []string) (*Set, error) {
	s := &Set{table: new(bart.Lite), size: len(ranges)}
	var faults []error
	for i, text := range ranges {
		p, err := parse(text)
		if err != nil {
			faults = append(faults, fmt.Errorf("[%d]: %q %w", i, text, err))
			continue
		}
		s.table.Insert(p)
	}
	return s, fault.Join(faults...)
}

func parse(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		if addr.Zone() != "" {
			return netip.Prefix{}, errors.New("has a zone")
		}
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, errors.New("is neither an address nor a range such as 10.0.0.0/8")
	}
	if addr := p.Addr(); addr.Is4In6() {
		if p.Bits() < 96 {
			return netip.Prefix{}, errors.New("covers more than the IPv4 addresses in IPv6")
		}
		p = netip.PrefixFrom(addr.Unmap(), p.Bits()-96)
	}
	if p != p.Masked() {
		return netip.Prefix{}, errors.New("has bits set beyond its length")
	}
	return p, nil
}

// Len returns the number of ranges.
func (s *Set) Len() int { return s.size }

// Contains reports whether an address is in the set. IPv4-mapped addresses are IPv4
// addresses; zones are ignored.
func (s *Set) Contains(addr netip.Addr) bool {
	return s.table.Contains(addr.Unmap().WithZone(""))
}
