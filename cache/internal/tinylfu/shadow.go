package tinylfu

import (
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	// shadowEntries is the least capacity of a shadow, and mostShare the largest number of
	// keys of which it has one.
	shadowEntries = 64
	mostShare     = 16
)

// shadow shows the hits that LRU would have: it has no values, and only a share of the keys
// in as small a share of the room (Waldspurger et al., Efficient MRC Construction with
// SHARDS, 2015).
type shadow struct {
	mask  uint64 // of the hashes of its keys
	items *simplelru.LRU[uint64, shade]
	bytes int64
	room  int64
}

// shade is what a shadow knows of an item.
type shade struct {
	size      int64
	expiresAt time.Time
}

func newShadow(entries int, bytes int64) *shadow {
	share, mask := 1, uint64(0)
	for share < mostShare && entries/(2*share) >= shadowEntries {
		share, mask = 2*share, 2*mask+1
	}
	s := &shadow{mask: mask, room: max(bytes/int64(share), 1)}
	s.items, _ = simplelru.NewLRU(max(entries/share, 1), func(_ uint64, one shade) { s.bytes -= one.size }) // fails only for a size below 1
	return s
}

// has reports whether it is about the keys with this hash.
func (s *shadow) has(h uint64) bool { return h>>16&s.mask == 0 }

func (s *shadow) get(h uint64, now time.Time) (hit bool) {
	one, ok := s.items.Get(h)
	return ok && now.Before(one.expiresAt)
}

func (s *shadow) set(h uint64, size int64, expiresAt time.Time) {
	s.items.Remove(h)
	s.items.Add(h, shade{size, expiresAt})
	for s.bytes += size; s.bytes > s.room && s.items.Len() > 1; {
		s.items.RemoveOldest()
	}
}
