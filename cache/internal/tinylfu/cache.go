package tinylfu

import (
	"hash/maphash"
	"time"
)

const (
	maxShards = 16
	// shardEntries and shardBytes are the least capacity of a shard.
	shardEntries = 512
	shardBytes   = 8 << 20
)

// Item is a value of a Cache with its key.
type Item[V any] struct {
	// Key identifies the item.
	Key string
	// Value is what [Cache.Get] returns.
	Value V
	// Size is the approximate memory use of the item, in bytes.
	Size int64
	// ExpiresAt is when the item becomes invisible.
	ExpiresAt time.Time

	hash uint64
}

// Cache is a sharded W-TinyLFU cache. It is safe for concurrent use.
type Cache[V any] struct {
	seed   maphash.Seed
	shards []*shard[V]
}

// New returns an empty Cache for at most so many entries and bytes. An item of more than
// half the bytes of a shard is not stored.
func New[V any](entries int, bytes int64) *Cache[V] {
	n := 1
	for n < maxShards && entries/(2*n) >= shardEntries && bytes/int64(2*n) >= shardBytes {
		n *= 2
	}
	c := &Cache[V]{seed: maphash.MakeSeed(), shards: make([]*shard[V], n)}
	for i := range c.shards {
		c.shards[i] = newShard[V](max(entries/n, 1), max(bytes/int64(n), 1))
	}
	return c
}

// Get returns the value of a key unless it has expired, and counts the request.
func (c *Cache[V]) Get(key string, now time.Time) (V, bool) {
	s, h := c.shard(key)
	return s.get(key, h, now)
}

// Set stores an item and returns the items that were evicted for it. The new item itself
// may be one of them.
func (c *Cache[V]) Set(it Item[V], now time.Time) (evicted []*Item[V]) {
	s, h := c.shard(it.Key)
	it.hash = h
	return s.set(&it, now)
}

// Delete removes a key.
func (c *Cache[V]) Delete(key string) {
	s, _ := c.shard(key)
	s.delete(key)
}

// Usage returns the number of items and their size in bytes, including expired items that
// have not been removed yet.
func (c *Cache[V]) Usage() (entries int, bytes int64) {
	for _, s := range c.shards {
		n, b := s.usage()
		entries, bytes = entries+n, bytes+b
	}
	return entries, bytes
}

func (c *Cache[V]) shard(key string) (*shard[V], uint64) {
	h := maphash.String(c.seed, key)
	return c.shards[h>>32%uint64(len(c.shards))], h
}
