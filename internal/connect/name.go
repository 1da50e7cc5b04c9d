package connect

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// lookupEvery is how often a name in use is looked up for new addresses.
	lookupEvery = 10 * time.Second
	// lookupTimeout bounds such a look-up.
	lookupTimeout = 5 * time.Second
	// failedFor is the time for which an address that did not respond is not tried first again.
	failedFor = 10 * time.Second
	// recently is the time for which an address without connections still counts as tried. It
	// bounds the turnover where there are more addresses than connections.
	recently = 5 * time.Minute
)

// name is a host name that connections were opened by. A nil name is none.
type name struct {
	lookup func(context.Context) ([]netip.Addr, error)

	checked atomic.Int64 // time of the latest look-up, Unix ns
	surplus atomic.Int64 // connections that must end in favor of new addresses

	mu     sync.Mutex
	places map[netip.Addr]*place
	fair   int // connections of an address, if all had as many
}

// place is one address of a name.
type place struct {
	live   int // connections, with those being opened
	tried  time.Time
	failed time.Time // did not answer
}

// arrange returns the addresses in the order in which to try them: of the first one's family, as the
// resolver prefers it, the one with the fewest connections; then the others. The first one is
// counted as connected until settle.
func (n *name) arrange(addrs []netip.Addr) []netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	now, best := time.Now(), 0
	for i, a := range addrs {
		if a.Is4() == addrs[0].Is4() && n.place(a).before(n.place(addrs[best]), now) {
			best = i
		}
	}
	first := addrs[best]
	p := n.place(first)
	p.tried = now
	p.live++
	order := append(make([]netip.Addr, 0, len(addrs)), first)
	return append(append(order, addrs[:best]...), addrs[best+1:]...)
}

// settle counts the connection for the address that it was made to, which it returns. The zero
// address is none.
func (n *name) settle(first, made netip.Addr, canceled bool) *place {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.place(first)
	if made == first {
		return p
	}
	p.live--
	if !canceled {
		p.failed = time.Now()
	}
	if !made.IsValid() {
		return nil
	}
	p = n.place(made)
	p.live++
	return p
}

// closed counts a connection less.
func (n *name) closed(p *place) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	p.live--
}

// before reports whether p should get the next connection rather than q.
func (p *place) before(q *place, now time.Time) bool {
	switch failed := now.Sub(p.failed) < failedFor; {
	case failed != (now.Sub(q.failed) < failedFor):
		return !failed
	case p.live != q.live:
		return p.live < q.live
	}
	return p.tried.Before(q.tried)
}

// place returns the place of an address. The caller holds n.mu.
func (n *name) place(a netip.Addr) *place {
	p := n.places[a]
	if p == nil {
		p = new(place)
		n.places[a] = p
	}
	return p
}

// sheds reports whether a connection to p must end so that a new address gets one. It looks the name
// up from time to time, in the background.
func (n *name) sheds(p *place) bool {
	if n == nil {
		return false
	}
	now := time.Now().UnixNano()
	if last := n.checked.Load(); now-last >= int64(lookupEvery) && n.checked.CompareAndSwap(last, now) {
		go n.check()
	}
	if n.surplus.Load() <= 0 {
		return false
	}
	n.mu.Lock()
	crowded := p.live > n.fair
	n.mu.Unlock()
	return crowded && n.surplus.Add(-1) >= 0
}

// check looks the name up. If it has new addresses, connections to the others end.
func (n *name) check() {
	ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
	defer cancel()
	if addrs, err := n.lookup(ctx); err == nil && len(addrs) > 0 { // else the connections stay
		n.divide(addrs, time.Now())
	}
}

// divide computes how many connections must end so that new addresses get their part, and forgets
// addresses that were not used recently.
func (n *name) divide(addrs []netip.Addr, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	total, added, all := 0, 0, 0
	for a, p := range n.places {
		total += p.live
		if p.live == 0 && now.Sub(p.tried) > recently {
			delete(n.places, a)
		}
	}
	for _, a := range addrs {
		if a.Is4() != addrs[0].Is4() {
			continue
		}
		all++
		if n.places[a] == nil {
			added++
		}
	}
	n.fair = total / all
	if added > 0 && total > 0 {
		n.surplus.Store(int64(max(n.fair*added, 1)))
	}
}
