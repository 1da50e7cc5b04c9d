package recent

import (
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// Max is the number of keys that a Times remembers.
const Max = 10_000

// Times maps keys to times and forgets the least recently used keys. The zero value is
// empty and ready. It is safe for concurrent use.
type Times struct {
	mu    sync.Mutex
	times *simplelru.LRU[string, time.Time]
	floor time.Time // the latest time of a key that was forgotten
}

// Add sets the time of a key.
func (t *Times) Add(key string, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.times == nil {
		t.times, _ = simplelru.NewLRU[string, time.Time](Max+1, nil) // fails only for a size below 1
	}
	t.times.Add(key, at)
	if t.times.Len() > Max {
		if _, old, ok := t.times.RemoveOldest(); ok && old.After(t.floor) {
			t.floor = old
		}
	}
}

// After reports whether the time of a key is after now. A forgotten key has no time.
func (t *Times) After(key string, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.times == nil {
		return false
	}
	at, ok := t.times.Get(key)
	return ok && now.Before(at)
}

// Latest returns the latest time that the key may have had: its own, or that of a
// forgotten key if it is later.
func (t *Times) Latest(key string) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.times == nil {
		return time.Time{}
	}
	if at, ok := t.times.Get(key); ok && at.After(t.floor) {
		return at
	}
	return t.floor
}

// Empty reports whether no time was ever added.
func (t *Times) Empty() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.times == nil
}

// Remove removes a key.
func (t *Times) Remove(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.times != nil {
		t.times.Remove(key)
	}
}
