package ratelimit

import (
	"context"
	"errors"
	"hash/maphash"
	"math"
	"math/bits"
	"sync"
	"time"

	"github.com/ginfer/ginfer/internal/sizes"
	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// shards is the number of locks of a Memory, one bit each in a uint64.
const shards = 64

// defaultKeys is the default of MemoryConfig.Keys.
const defaultKeys = 100_000

// MemoryConfig configures a Memory.
type MemoryConfig struct {
	// Keys is the number of buckets kept per limit, of about 300 bytes each. Default:
	// 100,000.
	Keys int
}

// Memory is a [Store] for one process, with a rate.Limiter per bucket. It is bounded and
// evicts only full buckets, so that an eviction changes nothing. While too many are not full,
// new keys of a limit share one bucket (closed): a flood of keys slows new keys, and opens
// nothing. It is safe for concurrent use.
type Memory struct {
	seed   maphash.Seed
	shards [shards]shard
	sizes  sizes.Registry
}

type shard struct {
	mu       sync.Mutex
	size     int
	limits   map[string]*simplelru.LRU[id, *bucket]
	overflow map[id]*bucket // by limit alone
	_        [64]byte       // a cache line of its own
}

// id identifies a bucket.
type id struct {
	limit, key string
	ends       int64
}

func (b *Bucket) id() id {
	out := id{limit: b.Limit, key: b.Key}
	if !b.Ends.IsZero() {
		out.ends = b.Ends.Unix()
	}
	return out
}

// NewMemory checks cfg and returns an empty Memory.
func NewMemory(cfg MemoryConfig) (*Memory, error) {
	if cfg.Keys < 0 {
		return nil, errors.New("ratelimit: MemoryConfig.Keys is negative")
	}
	if cfg.Keys == 0 {
		cfg.Keys = defaultKeys
	}
	m := &Memory{seed: maphash.MakeSeed()}
	for i := range m.shards {
		s := &m.shards[i]
		s.size = max(cfg.Keys/shards, 1)
		s.limits = make(map[string]*simplelru.LRU[id, *bucket])
		s.overflow = make(map[id]*bucket)
	}
	return m, nil
}

// len returns the number of buckets kept.
func (m *Memory) len() int {
	n := 0
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		for _, buckets := range s.limits {
			n += buckets.Len()
		}
		s.mu.Unlock()
	}
	return n
}

// Take implements Store. It never fails.
func (m *Memory) Take(_ context.Context, charges []Charge) error {
	var set uint64
	for i := range charges {
		set |= 1 << m.index(&charges[i].Bucket)
	}
	m.lock(set)
	defer m.unlock(set)
	now := time.Now()
	refused := false
	for i := range charges {
		c := &charges[i]
		b := m.sized(&c.Bucket, now)
		level := b.level(now)
		c.Granted, c.Wait = 0, 0
		if level < c.need() {
			refused, c.Wait = true, c.until(now, level, c.need())
		} else if !refused {
			c.Granted = c.grant(level)
			b.add(now, -c.Granted)
			level -= float64(c.Granted)
		}
		c.Left = level
	}
	if refused {
		m.putBack(charges, now)
	}
	return nil
}

// putBack undoes a Take that was refused in part.
func (m *Memory) putBack(charges []Charge, now time.Time) {
	for i := range charges {
		c := &charges[i]
		if c.Granted > 0 {
			m.bucket(&c.Bucket, now).add(now, c.Granted)
			c.Left += float64(c.Granted)
			c.Granted = 0
		}
	}
}

// Settle implements Store. It never fails.
func (m *Memory) Settle(_ context.Context, settlements []Settlement) error {
	for i := range settlements {
		s := &settlements[i]
		set := uint64(1) << m.index(&s.Bucket)
		m.lock(set)
		now := time.Now()
		m.bucket(&s.Bucket, now).add(now, s.Reserved-s.Spent)
		m.unlock(set)
	}
	return nil
}

// set sets the level of a bucket.
func (m *Memory) set(want *Bucket, level float64) {
	set := uint64(1) << m.index(want)
	m.lock(set)
	defer m.unlock(set)
	now := time.Now()
	b := m.sized(want, now)
	b.add(now, int64(math.Floor(level-b.level(now)))) // rounded down to whole tokens
}

// missing returns what a bucket lacks of its size, rounded up.
func (m *Memory) missing(want *Bucket) int64 {
	set := uint64(1) << m.index(want)
	m.lock(set)
	defer m.unlock(set)
	now := time.Now()
	return want.Burst - int64(math.Floor(m.bucket(want, now).limiter.TokensAt(now)+dust))
}

func (m *Memory) index(b *Bucket) uint64 { return maphash.String(m.seed, b.Key) % shards }

// lock takes the locks of a set of shards, always in the same order.
func (m *Memory) lock(set uint64) {
	for ; set != 0; set &= set - 1 {
		m.shards[bits.TrailingZeros64(set)].mu.Lock()
	}
}

func (m *Memory) unlock(set uint64) {
	for ; set != 0; set &= set - 1 {
		m.shards[bits.TrailingZeros64(set)].mu.Unlock()
	}
}

// bucket returns a bucket, which it creates if needed. The caller holds its shard's lock.
func (m *Memory) bucket(want *Bucket, now time.Time) *bucket {
	s := &m.shards[m.index(want)]
	key := want.id()
	buckets := s.of(want.Limit)
	b, ok := buckets.Get(key)
	if !ok && s.room(buckets, now) {
		b = newBucket(want)
		buckets.Add(key, b)
	} else if !ok {
		b = s.shared(want, id{limit: want.Limit, ends: key.ends}, now)
	}
	return b
}

// sized returns a bucket with the wanted size.
func (m *Memory) sized(want *Bucket, now time.Time) *bucket {
	b := m.bucket(want, now)
	if b.rate != want.Rate || b.burst != want.Burst {
		b.resize(want, now)
	}
	return b
}

// maxScan bounds the buckets that room examines for an eviction.
const maxScan = 8

// room makes room for one more bucket, and reports whether there is any. A bucket that is not
// full gets a second chance, so that slow buckets do not block the eviction of fast ones.
func (s *shard) room(buckets *simplelru.LRU[id, *bucket], now time.Time) bool {
	for range maxScan {
		if buckets.Len() < s.size {
			return true
		}
		key, oldest, _ := buckets.GetOldest()
		if oldest.full(now) {
			buckets.Remove(key)
		} else {
			buckets.Get(key)
		}
	}
	return buckets.Len() < s.size
}

// of returns the buckets of a limit. A flood of keys in one limit does not affect the others.
func (s *shard) of(limit string) *simplelru.LRU[id, *bucket] {
	buckets, ok := s.limits[limit]
	if !ok {
		buckets, _ = simplelru.NewLRU[id, *bucket](s.size, nil) // fails only for a size below 1
		s.limits[limit] = buckets
	}
	return buckets
}

// shared returns the bucket of a limit's new keys while there is no room.
func (s *shard) shared(want *Bucket, key id, now time.Time) *bucket {
	b, ok := s.overflow[key]
	if !ok {
		for k, old := range s.overflow { // of past periods
			if old.full(now) {
				delete(s.overflow, k)
			}
		}
		b = newBucket(want)
		s.overflow[key] = b
	}
	return b
}
