package cache

import (
	"context"
	"errors"
	"hash/maphash"
	"time"
)

// Defaults of a [Memory].
const (
	// DefaultEntries is how many entries it holds.
	DefaultEntries = 100_000
	// DefaultBytes is how much memory they may take.
	DefaultBytes = 256 << 20
)

const (
	maxShards = 16
	// shardEntries and shardBytes are what a shard should have at least.
	shardEntries = 512
	shardBytes   = 8 << 20
)

// MemoryConfig describes a Memory. Zero means the default.
type MemoryConfig struct {
	// Entries is how many entries are held at most. Default [DefaultEntries].
	Entries int
	// Bytes is how much memory they may take, about. An entry of more than a half of
	// what one of up to 16 shards has is not held. Default [DefaultBytes].
	Bytes int64
	// OnEvent is told of every entry that had to make room ([Evicted]). Optional.
	OnEvent func(context.Context, Event)
}

// Memory is a [Store] for one process, bounded by entries and by bytes. What is asked
// for often stays: a new entry takes another's place only if it was asked for more
// often lately (W-TinyLFU), so that neither a scan nor a flood of keys that nobody asks
// for twice drives the useful ones out. Where what is popular changes all the time plain
// LRU would do a little better. It is safe for concurrent use.
type Memory struct {
	onEvent func(context.Context, Event)
	seed    maphash.Seed
	shards  []*shard
}

// NewMemory checks cfg and returns an empty Memory. The error joins every fault.
func NewMemory(cfg MemoryConfig) (*Memory, error) {
	var faults []error
	if cfg.Entries < 0 {
		faults = append(faults, errors.New("cache: MemoryConfig.Entries is negative"))
	}
	if cfg.Bytes < 0 {
		faults = append(faults, errors.New("cache: MemoryConfig.Bytes is negative"))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	if cfg.Entries == 0 {
		cfg.Entries = DefaultEntries
	}
	if cfg.Bytes == 0 {
		cfg.Bytes = DefaultBytes
	}
	n := 1
	for n < maxShards && cfg.Entries/(2*n) >= shardEntries && cfg.Bytes/int64(2*n) >= shardBytes {
		n *= 2
	}
	m := &Memory{onEvent: cfg.OnEvent, seed: maphash.MakeSeed(), shards: make([]*shard, n)}
	for i := range m.shards {
		m.shards[i] = newShard(max(cfg.Entries/n, 1), max(cfg.Bytes/int64(n), 1))
	}
	return m, nil
}

// Get implements Store. It never fails but with [ErrNotFound].
func (m *Memory) Get(_ context.Context, key string) (*Entry, error) {
	if e := m.get(key, time.Now()); e != nil {
		return e, nil
	}
	return nil, ErrNotFound
}

// get is Get without an error; nil if there is none.
func (m *Memory) get(key string, now time.Time) *Entry {
	s, h := m.of(key)
	return s.get(key, h, now)
}

// Set implements Store. It never fails.
func (m *Memory) Set(ctx context.Context, key string, e *Entry) error {
	now := time.Now()
	if !now.Before(e.ExpiresAt) {
		return nil
	}
	s, h := m.of(key)
	for _, out := range s.set(key, h, e, now) {
		if m.onEvent != nil {
			m.onEvent(ctx, Event{Kind: Evicted, Key: out.key, Bytes: out.size})
		}
	}
	return nil
}

// Delete implements Store. It never fails.
func (m *Memory) Delete(_ context.Context, key string) error {
	s, _ := m.of(key)
	s.remove(key)
	return nil
}

// Len is how many entries are held, with those that are past their time and not yet
// found out.
func (m *Memory) Len() (n int) {
	for _, s := range m.shards {
		entries, _ := s.held()
		n += entries
	}
	return n
}

// Bytes is how much memory they take, about.
func (m *Memory) Bytes() (n int64) {
	for _, s := range m.shards {
		_, bytes := s.held()
		n += bytes
	}
	return n
}

func (m *Memory) of(key string) (*shard, uint64) {
	h := maphash.String(m.seed, key)
	return m.shards[h>>32%uint64(len(m.shards))], h
}
