package cache

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/ginfer/ginfer/cache/internal/tinylfu"
	"github.com/ginfer/ginfer/internal/fault"
)

// Defaults of a [Memory].
const (
	// DefaultEntries is the maximum number of entries.
	DefaultEntries = 100_000
	// DefaultBytes is the maximum memory use.
	DefaultBytes = 256 << 20
)

// MemoryConfig configures a Memory. The zero value is valid.
type MemoryConfig struct {
	// Entries is the maximum number of entries. Default: [DefaultEntries].
	Entries int
	// Bytes is the approximate maximum memory use. An entry of more than half the bytes
	// of a shard (there are up to 16) is not stored. Default: [DefaultBytes].
	Bytes int64
	// OnEvent is called for every entry that is evicted ([Evicted]). Optional.
	OnEvent func(context.Context, Event)
}

// Memory is a [Store] for one process, bounded by entries and by bytes. Its eviction
// policy is W-TinyLFU: a new entry replaces another only if it was requested more often
// recently, so that neither a scan nor a flood of keys that are requested once evicts the
// useful entries. Plain LRU does a little better where popularity changes all the time.
// It is safe for concurrent use.
type Memory struct {
	onEvent func(context.Context, Event)
	entries *tinylfu.Cache[*Entry]
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
	if err := fault.Join(faults...); err != nil {
		return nil, err
	}
	cfg.Entries = cmp.Or(cfg.Entries, DefaultEntries)
	cfg.Bytes = cmp.Or(cfg.Bytes, DefaultBytes)
	return &Memory{onEvent: cfg.OnEvent, entries: tinylfu.New[*Entry](cfg.Entries, cfg.Bytes)}, nil
}

// Get implements Store. Its only error is [ErrNotFound].
func (m *Memory) Get(_ context.Context, key string) (*Entry, error) {
	if e := m.get(key, time.Now()); e != nil {
		return e, nil
	}
	return nil, ErrNotFound
}

// get returns nil if there is no entry.
func (m *Memory) get(key string, now time.Time) *Entry {
	e, _ := m.entries.Get(key, now)
	return e
}

// Set implements Store. It never fails.
func (m *Memory) Set(ctx context.Context, key string, e *Entry) error {
	now := time.Now()
	if !now.Before(e.ExpiresAt) {
		return nil
	}
	item := tinylfu.Item[*Entry]{Key: key, Value: e, Size: e.size() + int64(len(key)), ExpiresAt: e.ExpiresAt}
	for _, out := range m.entries.Set(item, now) {
		if m.onEvent != nil {
			m.onEvent(ctx, Event{Kind: Evicted, Key: out.Key, Bytes: out.Size})
		}
	}
	return nil
}

// Delete implements Store. It never fails.
func (m *Memory) Delete(_ context.Context, key string) error {
	m.entries.Delete(key)
	return nil
}

// Len returns the number of entries. It includes expired ones that were not requested
// since.
func (m *Memory) Len() int {
	n, _ := m.entries.Usage()
	return n
}

// Bytes returns the approximate memory use of the entries.
func (m *Memory) Bytes() int64 {
	_, bytes := m.entries.Usage()
	return bytes
}
