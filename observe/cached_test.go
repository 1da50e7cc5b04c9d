package observe_test

import (
	"errors"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/cache"
	"github.com/ginfer/ginfer/observe"
	"github.com/ginfer/ginfer/observe/events"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What the cache did with a request is a metric and a field of its line.
func TestCacheResults(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		event          cache.Event
		result, reason any
		series         string
	}{
		"fresh hit":    {cache.Event{Kind: cache.Hit, Policy: "llm", TTL: time.Second}, "hit", nil, "gateway.cache=hit,gateway.cache.name=c,gateway.cache.policy=llm"},
		"stale hit":    {cache.Event{Kind: cache.Hit, Policy: "http", TTL: -1}, "stale", nil, "gateway.cache=stale,gateway.cache.name=c,gateway.cache.policy=http"},
		"expiring now": {cache.Event{Kind: cache.Hit, Policy: "llm"}, "hit", nil, "gateway.cache=hit,gateway.cache.name=c,gateway.cache.policy=llm"},
		"coalesced":    {cache.Event{Kind: cache.Coalesced, Policy: "llm"}, "coalesced", nil, "gateway.cache=coalesced,gateway.cache.name=c,gateway.cache.policy=llm"},
		"missed":       {cache.Event{Kind: cache.Missed, Policy: "llm"}, "miss", nil, "gateway.cache=miss,gateway.cache.name=c,gateway.cache.policy=llm"},
		"bypassed":     {cache.Event{Kind: cache.Bypassed, Policy: "llm", Reason: "method"}, "bypass", "method", "gateway.cache=bypass,gateway.cache.name=c,gateway.cache.policy=llm,gateway.reason=method"},
		"stored":       {cache.Event{Kind: cache.Stored}, nil, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			metrics, reader := newMetrics(t, observe.MetricsConfig{})
			access, out := newAccessLog(t, observe.AccessLogConfig{})
			ask(post(), access.Middleware(), func(c *gin.Context) {
				events.Hooks{Metrics: metrics}.Cache("c")(c.Request.Context(), tt.event)
			})
			got := out.one(t)
			assert.Equal(t, tt.result, got["gateway.cache"])
			assert.Equal(t, tt.reason, got["gateway.cache.reason"])
			all := series(collect(t, reader))
			if tt.series == "" {
				assert.NotContains(t, all, "gateway.cache.requests")
				return
			}
			assert.Equal(t, map[string]float64{"gateway.cache.requests{" + tt.series + "}": 1}, all)
		})
	}
}

// The last event of a request is the one in its line: a miss may become a coalesced hit.
func TestCacheLastResult(t *testing.T) {
	t.Parallel()
	access, out := newAccessLog(t, observe.AccessLogConfig{})
	ask(post(), access.Middleware(), func(c *gin.Context) {
		report := events.Hooks{}.Cache("c")
		report(c.Request.Context(), cache.Event{Kind: cache.Bypassed, Reason: "key"})
		report(c.Request.Context(), cache.Event{Kind: cache.Missed})
		report(c.Request.Context(), cache.Event{Kind: cache.Evicted})
	})
	got := out.one(t)
	assert.Equal(t, "miss", got["gateway.cache"])
	assert.NotContains(t, got, "gateway.cache.reason", "it was the bypass's")
}

// Changes of the cache's content are counted by kind, and a store's state is a gauge.
func TestCacheChanges(t *testing.T) {
	t.Parallel()
	metrics, reader := newMetrics(t, observe.MetricsConfig{})
	report := events.Hooks{Metrics: metrics}.Cache("c")
	for _, kind := range []cache.Kind{cache.Stored, cache.Refreshed, cache.Evicted, cache.Evicted, cache.Purged, cache.Dropped, cache.Failed} {
		report(t.Context(), cache.Event{Kind: kind})
	}
	report(t.Context(), cache.Event{Kind: cache.NotStored, Reason: "status"})
	report(t.Context(), cache.Event{Kind: cache.NotStored, Reason: "too large"})
	report(t.Context(), cache.Event{Kind: cache.StoreDown, Err: errors.New("x")})
	all := series(collect(t, reader))
	for labels, want := range map[string]float64{
		"gateway.change=stored": 1, "gateway.change=refreshed": 1, "gateway.change=evicted": 2, "gateway.change=purged": 1,
		"gateway.change=dropped": 1, "gateway.change=failed": 1,
		"gateway.change=not_stored,gateway.reason=status": 1, "gateway.change=not_stored,gateway.reason=too large": 1,
	} {
		name := "gateway.cache.changes{gateway.cache.name=c," + labels + "}"
		require.Contains(t, all, name)
		assert.InDelta(t, want, all[name], 0, name)
	}
	const down = "gateway.cache.store.down{gateway.cache.name=c}"
	assert.InDelta(t, 1, all[down], 0)
	report(t.Context(), cache.Event{Kind: cache.StoreUp})
	all = series(collect(t, reader))
	require.Contains(t, all, down)
	assert.Zero(t, all[down])
}
