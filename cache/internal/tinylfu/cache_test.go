package tinylfu_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/ginfer/ginfer/cache/internal/tinylfu"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var start = time.Unix(1_700_000_000, 0)

func item(key string, size int64) tinylfu.Item[string] {
	return tinylfu.Item[string]{Key: key, Value: "value of " + key, Size: size, ExpiresAt: start.Add(time.Minute)}
}

func TestGetReturnsWhatWasSet(t *testing.T) {
	t.Parallel()
	c := tinylfu.New[string](10, 1000)
	require.Empty(t, c.Set(item("a", 10), start))
	v, ok := c.Get("a", start)
	require.True(t, ok)
	require.Equal(t, "value of a", v)
	v, ok = c.Get("b", start)
	require.False(t, ok)
	require.Empty(t, v)
	c.Delete("a")
	c.Delete("b")
	_, ok = c.Get("a", start)
	require.False(t, ok)
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		after time.Duration
		found bool
	}{
		{"before", time.Minute - 1, true},
		{"at the expiry", time.Minute, false},
		{"after", time.Hour, false},
	} {
		c := tinylfu.New[string](10, 1000)
		c.Set(item("a", 10), start)
		_, ok := c.Get("a", start.Add(tt.after))
		assert.Equal(t, tt.found, ok, tt.name)
		n, bytes := c.Usage()
		assert.Equal(t, tt.found, n == 1, "%s: an expired item is removed when it is requested", tt.name)
		assert.Equal(t, tt.found, bytes == 10, tt.name)
	}
}

func TestUsageFollowsReplacement(t *testing.T) {
	t.Parallel()
	c := tinylfu.New[string](10, 1000)
	for _, tt := range []struct {
		key     string
		size    int64
		entries int
		bytes   int64
	}{
		{"a", 100, 1, 100},
		{"b", 50, 2, 150},
		{"a", 20, 2, 70},
		{"a", 400, 2, 450},
		{"b", 501, 1, 400}, // more than half of the room: the old item goes too
	} {
		c.Set(item(tt.key, tt.size), start)
		n, bytes := c.Usage()
		require.Equal(t, tt.entries, n, "%+v", tt)
		require.Equal(t, tt.bytes, bytes, "%+v", tt)
	}
}

func TestPopularItemsStay(t *testing.T) {
	t.Parallel()
	c := tinylfu.New[string](100, 1<<20)
	popular := func(i int) string { return "popular " + strconv.Itoa(i%50) }
	for i := range 500 {
		if _, ok := c.Get(popular(i), start); !ok {
			c.Set(item(popular(i), 1), start)
		}
	}
	hits := 0
	for i := range 5000 { // every other request is of a scan
		scanned := "scan " + strconv.Itoa(i)
		c.Get(scanned, start)
		c.Set(item(scanned, 1), start)
		if _, ok := c.Get(popular(i), start); ok {
			hits++
		}
	}
	require.Greater(t, hits, 4900)
}

func TestExpiredItemsAreEvictedFirst(t *testing.T) {
	t.Parallel()
	c := tinylfu.New[string](10, 1<<20)
	for i := range 10 {
		key := "old " + strconv.Itoa(i)
		c.Set(item(key, 1), start)
		for range 10 {
			c.Get(key, start)
		}
	}
	later := start.Add(time.Hour)
	for i := range 5 {
		it := item("new "+strconv.Itoa(i), 1)
		it.ExpiresAt = later.Add(time.Minute)
		for _, out := range c.Set(it, later) {
			require.Contains(t, out.Key, "old ", "however popular it was")
		}
	}
}

// Every item that is evicted is returned once, with its size: the books balance.
func TestEvictedItemsAreReturned(t *testing.T) {
	t.Parallel()
	const entries, bytes = 64, 4096
	c := tinylfu.New[string](entries, bytes)
	var sizes, gone int64
	out := 0
	for i := range 5000 {
		size := int64(1 + i*7%200)
		sizes += size
		for _, it := range c.Set(item(strconv.Itoa(i), size), start) {
			out++
			gone += it.Size
		}
		if i%3 == 0 {
			c.Get(strconv.Itoa(i/2), start)
		}
		n, b := c.Usage()
		require.LessOrEqual(t, n, entries)
		require.LessOrEqual(t, b, int64(bytes))
	}
	n, b := c.Usage()
	require.Equal(t, 5000, out+n)
	require.Equal(t, sizes, gone+b)
}

func BenchmarkCache(b *testing.B) {
	c := tinylfu.New[string](100_000, 256<<20)
	keys := make([]string, 1024)
	for i := range keys {
		keys[i] = strconv.Itoa(i)
		c.Set(item(keys[i], 100), start)
	}
	b.Run("get", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			c.Get(keys[i%len(keys)], start)
		}
	})
	b.Run("set", func(b *testing.B) {
		b.ReportAllocs()
		it := item("", 100)
		for i := 0; b.Loop(); i++ {
			it.Key = keys[i%len(keys)]
			c.Set(it, start)
		}
	})
}
