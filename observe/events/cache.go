package events

import (
	"context"
	"log/slog"

	"github.com/ginfer/ginfer/cache"
	"github.com/ginfer/ginfer/observe/internal/event"
	"github.com/ginfer/ginfer/observe/internal/plain"
)

// Cache returns an OnEvent of cache's Config, MemoryConfig and TieredConfig for the named
// cache.
func (h Hooks) Cache(name string) func(context.Context, cache.Event) {
	return func(ctx context.Context, e cache.Event) {
		switch e.Kind { //nolint:exhaustive // the others are results and changes
		case cache.StoreDown:
			h.report(ctx, &event.CacheStore{Cache: name, Down: true})
			h.log(ctx, slog.LevelError, "cache: the store does not respond", "cache", name, e.Err)
			return
		case cache.StoreUp:
			h.report(ctx, &event.CacheStore{Cache: name})
			h.log(ctx, slog.LevelInfo, "cache: the store responds again", "cache", name, nil)
			return
		case cache.Failed:
			h.log(ctx, slog.LevelWarn, "cache: failed; no request was affected", "cache", name, e.Err)
		case cache.Purged:
			h.log(ctx, slog.LevelInfo, "cache: purged", "cache", name, nil, slog.String("tag", plain.Clean(string(e.Tag), plain.Word)))
		}
		if result := result(&e); result != "" {
			h.report(ctx, &event.CacheResult{Cache: name, Policy: e.Policy, Result: result, Reason: e.Reason})
			return
		}
		h.report(ctx, &event.CacheChange{Cache: name, Change: change(e.Kind), Reason: e.Reason})
	}
}

// result returns what the cache did with a request; "" for events without a request.
func result(e *cache.Event) string {
	switch e.Kind { //nolint:exhaustive // see above
	case cache.Hit:
		if e.TTL < 0 {
			return "stale"
		}
		return "hit"
	case cache.Coalesced:
		return "coalesced"
	case cache.Missed:
		return "miss"
	case cache.Bypassed:
		return "bypass"
	}
	return ""
}

// change returns the label of the other kinds.
func change(kind cache.Kind) string {
	switch kind { //nolint:exhaustive // see above
	case cache.Stored:
		return "stored"
	case cache.NotStored:
		return "not_stored"
	case cache.Refreshed:
		return "refreshed"
	case cache.Evicted:
		return "evicted"
	case cache.Purged:
		return "purged"
	case cache.Dropped:
		return "dropped"
	case cache.Failed:
		return "failed"
	}
	return "other"
}
