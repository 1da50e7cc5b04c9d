package batch

import (
	"context"
	"sync"
	"time"

	"github.com/ginfer/ginfer/queue/internal/jet"
)

const (
	// cacheTTL is how long a cached record is used. A stop removes it at once.
	cacheTTL = time.Second
	// maxCached bounds the cached records.
	maxCached = 1024
)

// cache caches the records of batches, so that workers need not read one for each line.
type cache struct {
	mu  sync.Mutex
	all map[string]cached
}

type cached struct {
	rec *record
	at  time.Time
}

func newCache() *cache { return &cache{all: map[string]cached{}} }

func (c *cache) get(ctx context.Context, store *jet.Store, owner, id string) (*record, error) {
	c.mu.Lock()
	hit, ok := c.all[id]
	c.mu.Unlock()
	if ok && time.Since(hit.at) < cacheTTL && hit.rec.Owner == owner {
		return hit.rec, nil
	}
	at := time.Now()
	rec, _, err := getRecord(ctx, store, owner, id)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.all) >= maxCached {
		clear(c.all)
	}
	c.all[id] = cached{rec, at}
	return rec, nil
}

func (c *cache) drop(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.all, id)
}
