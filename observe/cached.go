package observe

import (
	"context"
	"log/slog"

	"github.com/ginfer/ginfer/cache"
	"github.com/ginfer/ginfer/observe/internal/plain"
	"go.opentelemetry.io/otel/metric"
)

// Cache returns an OnEvent of cache's Config, MemoryConfig and TieredConfig for the named
// cache.
func (h Hooks) Cache(name string) func(context.Context, cache.Event) {
	return func(ctx context.Context, e cache.Event) {
		result := cacheResult(&e)
		if result != "" {
			recordOf(ctx).update(func(en *entry) { en.cache, en.notCache = result, plain.Clean(e.Reason, plain.Word) })
		}
		h.Metrics.cached(ctx, name, &e, result)
		switch e.Kind { //nolint:exhaustive // the others belong to a request
		case cache.StoreDown:
			h.log(ctx, slog.LevelError, "cache: the store does not respond", "cache", name, e.Err)
		case cache.StoreUp:
			h.log(ctx, slog.LevelInfo, "cache: the store responds again", "cache", name, nil)
		case cache.Failed:
			h.log(ctx, slog.LevelWarn, "cache: failed; no request was affected", "cache", name, e.Err)
		case cache.Purged:
			h.log(ctx, slog.LevelInfo, "cache: purged", "cache", name, nil, slog.String("tag", plain.Clean(string(e.Tag), plain.Word)))
		}
	}
}

// cacheResult returns what the cache did with a request; "" for events without a request.
func cacheResult(e *cache.Event) string {
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

// cacheChange returns the label of the other kinds.
func cacheChange(kind cache.Kind) string {
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
	return other
}

func (m *Metrics) cached(ctx context.Context, name string, e *cache.Event, result string) {
	if m == nil {
		return
	}
	which := label{keyCacheName, m.labels.of(name)}
	switch {
	case result != "":
		m.in.cached.Add(ctx, 1, m.sets.of(labels{which, {keyPolicy, e.Policy}, {keyCache, result}, {keyReason, m.labels.of(e.Reason)}}))
	case e.Kind == cache.StoreDown:
		m.in.cacheDown.Record(ctx, 1, m.sets.of(labels{which}))
	case e.Kind == cache.StoreUp:
		m.in.cacheDown.Record(ctx, 0, m.sets.of(labels{which}))
	default:
		m.in.cacheChanges.Add(ctx, 1, m.sets.of(labels{which, {keyChange, cacheChange(e.Kind)}, {keyReason, m.labels.of(e.Reason)}}))
	}
}

func (m *Metrics) observeCaches(o metric.Observer, entries, bytes metric.Int64Observable) {
	if m.cfg.Caches == nil {
		return
	}
	for name, one := range m.cfg.Caches() {
		set := m.sets.of(labels{{keyCacheName, m.labels.of(name)}})
		o.ObserveInt64(entries, int64(one.Len()), set)
		o.ObserveInt64(bytes, one.Bytes(), set)
	}
}
