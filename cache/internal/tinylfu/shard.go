package tinylfu

import (
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// protectedShare is the share of the main room, the room outside the window, for items
// that were requested again. Unit: percent.
const protectedShare = 80

// segment is one LRU list of a shard.
type segment[V any] struct {
	items *simplelru.LRU[string, *Item[V]]
	bytes int64
}

func newSegment[V any](entries int) segment[V] {
	items, _ := simplelru.NewLRU[string, *Item[V]](entries+1, nil) // fails only for a size below 1
	return segment[V]{items: items}
}

func (s *segment[V]) add(it *Item[V]) {
	s.items.Add(it.Key, it)
	s.bytes += it.Size
}

func (s *segment[V]) remove(it *Item[V]) {
	s.items.Remove(it.Key)
	s.bytes -= it.Size
}

func (s *segment[V]) oldest() *Item[V] {
	_, it, _ := s.items.GetOldest()
	return it
}

// over reports whether the segment exceeds its share of the shard.
func (s *segment[V]) over(entries int, bytes int64) bool {
	return s.items.Len() > 1 && (s.items.Len() > entries || s.bytes > bytes)
}

// shard is one part of a Cache: a window for new items, a segmented LRU, and the
// frequency sketch that decides about admission from the first to the second.
type shard[V any] struct {
	entries int
	bytes   int64

	mu                           sync.Mutex
	window, probation, protected segment[V]
	frequency                    *Sketch
	size                         climber // of the window
	shadow                       *shadow
	_                            [64]byte // a cache line of its own
}

func newShard[V any](entries int, bytes int64) *shard[V] {
	return &shard[V]{
		entries: entries, bytes: bytes, frequency: NewSketch(entries), size: newClimber(entries), shadow: newShadow(entries, bytes),
		window: newSegment[V](entries), probation: newSegment[V](entries), protected: newSegment[V](entries),
	}
}

func (s *shard[V]) get(key string, h uint64, now time.Time) (v V, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frequency.Count(h)
	seg, it := s.find(key)
	if it != nil && !now.Before(it.ExpiresAt) {
		seg.remove(it)
		it = nil
	}
	if s.shadow.has(h) {
		s.size.compare(it != nil, s.shadow.get(h, now))
	}
	s.size.record(it != nil)
	if it == nil {
		return v, false
	}
	if seg == &s.probation {
		s.promote(it)
	} else {
		seg.items.Get(key) // it is the latest now
	}
	return it.Value, true
}

// find looks up a key without changing its position.
func (s *shard[V]) find(key string) (*segment[V], *Item[V]) {
	for _, seg := range [...]*segment[V]{&s.protected, &s.probation, &s.window} {
		if it, ok := seg.items.Peek(key); ok {
			return seg, it
		}
	}
	return nil, nil
}

// promote moves an item to the protected segment. Its oldest items fall back to
// probation when there are too many.
func (s *shard[V]) promote(it *Item[V]) {
	s.probation.remove(it)
	s.protected.add(it)
	for s.protected.over((s.entries-s.size.ofEntries(s.entries))*protectedShare/100, (s.bytes-s.size.ofBytes(s.bytes))/100*protectedShare) {
		oldest := s.protected.oldest()
		s.protected.remove(oldest)
		s.probation.add(oldest)
	}
}

func (s *shard[V]) set(it *Item[V], now time.Time) (evicted []*Item[V]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seg, old := s.find(it.Key)
	if old != nil {
		seg.remove(old)
	} else {
		seg = &s.window
	}
	if it.Size > s.bytes/2 {
		return nil
	}
	if s.shadow.has(it.hash) {
		s.shadow.set(it.hash, it.Size, it.ExpiresAt)
	}
	seg.add(it)
	return s.makeRoom(now)
}

// makeRoom evicts items until the shard is within its room. From a window that exceeds its
// quota the oldest item competes with the next victim of the main room. Otherwise the main
// room has more than its own quota, as after the climber enlarged the window: its victim
// goes.
func (s *shard[V]) makeRoom(now time.Time) (evicted []*Item[V]) {
	for {
		switch victim := s.victim(); {
		case s.window.over(s.size.ofEntries(s.entries), s.size.ofBytes(s.bytes)) || victim == nil && s.full():
			evicted = s.leaveWindow(now, evicted)
		case s.full():
			evicted = append(evicted, s.evict(victim))
		default:
			return evicted
		}
	}
}

// leaveWindow moves the oldest item of the window to the main room, if it is requested more
// often than what it would replace there.
func (s *shard[V]) leaveWindow(now time.Time, evicted []*Item[V]) []*Item[V] {
	candidate := s.window.oldest()
	s.window.remove(candidate)
	for s.fullWith(candidate) {
		victim := s.victim()
		if victim == nil || s.keeps(victim, candidate, now) {
			return append(evicted, candidate)
		}
		evicted = append(evicted, s.evict(victim))
	}
	s.probation.add(candidate)
	return evicted
}

// keeps reports whether the victim stays and the candidate is evicted instead.
func (s *shard[V]) keeps(victim, candidate *Item[V], now time.Time) bool {
	return now.Before(victim.ExpiresAt) && s.frequency.Estimate(candidate.hash) <= s.frequency.Estimate(victim.hash)
}

// victim is the next item of the main room to evict.
func (s *shard[V]) victim() *Item[V] {
	if it := s.probation.oldest(); it != nil {
		return it
	}
	return s.protected.oldest()
}

func (s *shard[V]) evict(it *Item[V]) *Item[V] {
	if _, ok := s.probation.items.Peek(it.Key); ok {
		s.probation.remove(it)
	} else {
		s.protected.remove(it)
	}
	return it
}

func (s *shard[V]) count() (entries int, bytes int64) {
	return s.window.items.Len() + s.probation.items.Len() + s.protected.items.Len(),
		s.window.bytes + s.probation.bytes + s.protected.bytes
}

func (s *shard[V]) full() bool {
	entries, bytes := s.count()
	return entries > s.entries || bytes > s.bytes
}

func (s *shard[V]) fullWith(one *Item[V]) bool {
	entries, bytes := s.count()
	return entries+1 > s.entries || bytes+one.Size > s.bytes
}

func (s *shard[V]) delete(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if seg, it := s.find(key); it != nil {
		seg.remove(it)
	}
}

func (s *shard[V]) usage() (entries int, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count()
}
