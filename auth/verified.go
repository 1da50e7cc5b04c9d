package auth

import (
	"crypto/sha256"
	"sync"
	"time"
)

// shards spread the locks of a cache.
const shards = 16

// tokenHash stands for a token: caches hold no secrets.
type tokenHash [sha256.Size]byte

// hashOf does not copy a token of usual length to the heap.
func hashOf(token string) tokenHash {
	var usual [2048]byte
	return sha256.Sum256(append(usual[:0], token...))
}

// verified remembers what was found out about tokens. It is bounded: when full,
// it forgets what has expired, and then whatever comes first.
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

// evict makes room for one. A map is walked in no order, so that nobody can
// tell who goes.
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
