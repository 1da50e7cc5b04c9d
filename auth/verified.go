package auth

import (
	"crypto/sha256"
	"sync"
	"time"
)

// shards is the number of locks that a cache is split over.
const shards = 16

// tokenHash is the key of a token in caches, which hold no secrets.
type tokenHash [sha256.Size]byte

// hashOf returns the hash of a token. Tokens of usual length are not copied to the heap.
func hashOf(token string) tokenHash {
	var usual [2048]byte
	return sha256.Sum256(append(usual[:0], token...))
}

// verified is a bounded cache of verification results. When it is full, it evicts an
// expired entry, else an arbitrary one.
type verified[V any] struct {
	size   int // per shard
	shards [shards]shard[V]
}

type shard[V any] struct {
	mu sync.Mutex
	m  map[tokenHash]fact[V]
}

type fact[V any] struct {
	value V
	until time.Time
}

func newVerified[V any](size int) *verified[V] {
	c := &verified[V]{size: max(size/shards, 1)}
	for i := range c.shards {
		c.shards[i].m = make(map[tokenHash]fact[V])
	}
	return c
}

func (c *verified[V]) shard(h tokenHash) *shard[V] { return &c.shards[h[0]%shards] }

func (c *verified[V]) get(h tokenHash, now time.Time) (V, bool) {
	s := c.shard(h)
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.m[h]
	if !ok || !now.Before(f.until) {
		var none V
		return none, false
	}
	return f.value, true
}

func (c *verified[V]) put(h tokenHash, v V, until, now time.Time) {
	s := c.shard(h)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.m[h]; !ok && len(s.m) >= c.size {
		s.evict(now)
	}
	s.m[h] = fact[V]{v, until}
}

// evict removes one entry. Map iteration order is random, so callers can't choose the
// victim.
func (s *shard[V]) evict(now time.Time) {
	looked := 0
	for h, f := range s.m {
		if looked++; !now.Before(f.until) || looked == 8 {
			delete(s.m, h)
			return
		}
	}
	for h := range s.m {
		delete(s.m, h)
		return
	}
}
