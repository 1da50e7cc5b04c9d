package cache

import (
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// maxRecent bounds what is remembered of each kind.
const maxRecent = 10_000

// recently remembers a time for each of the latest keys. Its zero value is empty.
type recently struct {
	mu    sync.Mutex
	times *simplelru.LRU[string, time.Time]
	floor time.Time // the latest time that was forgotten
}

// note remembers a time.
func (r *recently) note(key string, t time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.times == nil {
		r.times, _ = simplelru.NewLRU[string, time.Time](maxRecent+1, nil) // fails only for a size below 1
	}
	r.times.Add(key, t)
	if r.times.Len() > maxRecent {
		if _, old, ok := r.times.RemoveOldest(); ok && old.After(r.floor) {
			r.floor = old
		}
	}
}

// has reports whether a key's time is still to come.
func (r *recently) has(key string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.times == nil {
		return false
	}
	t, ok := r.times.Get(key)
	return ok && now.Before(t)
}

// since is the time of a key, or of what was forgotten, if that is later: it may have
// been the key.
func (r *recently) since(key string) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.times == nil {
		return time.Time{}
	}
	if t, ok := r.times.Get(key); ok && t.After(r.floor) {
		return t
	}
	return r.floor
}

// empty reports that nothing was ever noted.
func (r *recently) empty() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.times == nil
}

// forget removes a key.
func (r *recently) forget(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.times != nil {
		r.times.Remove(key)
	}
}
