package cache

import (
	"sync"
	"time"

	"github.com/ginfer/ginfer/cache/internal/sketch"
	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// protectedPart is the part of the room outside the window that is for entries that
// were asked for again, in percent.
const protectedPart = 80

// item is an entry in a shard.
type item struct {
	key   string
	hash  uint64
	entry *Entry
	size  int64
}

// segment is one list of a shard.
type segment struct {
	items *simplelru.LRU[string, *item]
	bytes int64
}

func newSegment(entries int) segment {
	items, _ := simplelru.NewLRU[string, *item](entries+1, nil) // fails only for a size below 1
	return segment{items: items}
}

func (s *segment) add(it *item) {
	s.items.Add(it.key, it)
	s.bytes += it.size
}

func (s *segment) remove(it *item) {
	s.items.Remove(it.key)
	s.bytes -= it.size
}

func (s *segment) oldest() *item {
	_, it, _ := s.items.GetOldest()
	return it
}

// over reports whether the segment is beyond a part of what a shard has.
func (s *segment) over(entries int, bytes int64) bool {
	return s.items.Len() > 1 && (s.items.Len() > entries || s.bytes > bytes)
}

// shard is a part of a Memory: a window, then two LRU lists, and a sketch that says who
// may come from the one to the others.
type shard struct {
	entries int
	bytes   int64

	mu                           sync.Mutex
	window, probation, protected segment
	often                        *sketch.Sketch
	size                         climber  // of the window
	_                            [64]byte // a cache line of its own
}

func newShard(entries int, bytes int64) *shard {
	return &shard{
		entries: entries, bytes: bytes, often: sketch.New(entries), size: newClimber(entries),
		window: newSegment(entries), probation: newSegment(entries), protected: newSegment(entries),
	}
}

func (s *shard) get(key string, h uint64, now time.Time) *Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.often.Count(h)
	seg, it := s.find(key)
	if it != nil && !now.Before(it.entry.ExpiresAt) {
		seg.remove(it)
		it = nil
	}
	s.size.looked(it != nil)
	if it == nil {
		return nil
	}
	if seg == &s.probation {
		s.promote(it)
	} else {
		seg.items.Get(key) // it is the latest now
	}
	return it.entry
}

// find looks a key up, without touching it.
func (s *shard) find(key string) (*segment, *item) {
	for _, seg := range [...]*segment{&s.protected, &s.probation, &s.window} {
		if it, ok := seg.items.Peek(key); ok {
			return seg, it
		}
	}
	return nil, nil
}

// promote moves an entry to those that were asked for again. The oldest of those goes
// back when they are too many.
func (s *shard) promote(it *item) {
	s.probation.remove(it)
	s.protected.add(it)
	for s.protected.over((s.entries-s.size.ofEntries(s.entries))*protectedPart/100, (s.bytes-s.size.ofBytes(s.bytes))/100*protectedPart) {
		oldest := s.protected.oldest()
		s.protected.remove(oldest)
		s.probation.add(oldest)
	}
}

// set keeps an entry and returns what had to go.
func (s *shard) set(key string, h uint64, e *Entry, now time.Time) (evicted []*item) {
	it := &item{key: key, hash: h, entry: e, size: e.size() + int64(len(key))}
	s.mu.Lock()
	defer s.mu.Unlock()
	seg, old := s.find(key)
	if old != nil {
		seg.remove(old)
	} else {
		seg = &s.window
	}
	if it.size > s.bytes/2 {
		return nil
	}
	seg.add(it)
	return s.makeRoom(now)
}

// makeRoom moves what is too much out of the window, and lets it compete for the rest of
// the room.
func (s *shard) makeRoom(now time.Time) (evicted []*item) {
	for s.window.over(s.size.ofEntries(s.entries), s.size.ofBytes(s.bytes)) || s.full() && s.window.items.Len() > 0 {
		newcomer := s.window.oldest()
		s.window.remove(newcomer)
		admitted := true
		for admitted && s.fullWith(newcomer) {
			victim := s.victim()
			if victim == nil || s.keeps(victim, newcomer, now) {
				admitted = false
				break
			}
			evicted = append(evicted, s.drop(victim))
		}
		if admitted {
			s.probation.add(newcomer)
		} else {
			evicted = append(evicted, newcomer)
		}
	}
	for s.full() { // an entry grew
		evicted = append(evicted, s.drop(s.victim()))
	}
	return evicted
}

// keeps reports whether an entry stays in spite of another one.
func (s *shard) keeps(victim, newcomer *item, now time.Time) bool {
	return now.Before(victim.entry.ExpiresAt) && s.often.Estimate(newcomer.hash) <= s.often.Estimate(victim.hash)
}

// victim is who would have to go next.
func (s *shard) victim() *item {
	if it := s.probation.oldest(); it != nil {
		return it
	}
	return s.protected.oldest()
}

func (s *shard) drop(it *item) *item {
	if _, ok := s.probation.items.Peek(it.key); ok {
		s.probation.remove(it)
	} else {
		s.protected.remove(it)
	}
	return it
}

func (s *shard) count() (entries int, bytes int64) {
	return s.window.items.Len() + s.probation.items.Len() + s.protected.items.Len(),
		s.window.bytes + s.probation.bytes + s.protected.bytes
}

func (s *shard) full() bool {
	entries, bytes := s.count()
	return entries > s.entries || bytes > s.bytes
}

func (s *shard) fullWith(one *item) bool {
	entries, bytes := s.count()
	return entries+1 > s.entries || bytes+one.size > s.bytes
}

func (s *shard) remove(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if seg, it := s.find(key); it != nil {
		seg.remove(it)
	}
}

func (s *shard) held() (entries int, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count()
}
