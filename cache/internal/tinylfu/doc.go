// Package tinylfu implements a W-TinyLFU cache: an in-memory map that is bounded by
// entries and by bytes, and that evicts what is requested least often.
//
//	c := tinylfu.New[*Entry](100_000, 256<<20)
//	evicted := c.Set(tinylfu.Item[*Entry]{Key: key, Value: e, Size: size, ExpiresAt: expiry}, now)
//	e, ok := c.Get(key, now)
//
// Each shard has a small window of new items in front of a segmented LRU. An item that
// leaves the window is admitted only if a frequency sketch estimates that it is requested
// more often than the item it would replace (Einziger, Friedman and Manes, TinyLFU, 2017).
// The window's share of the room adapts to the load by hill climbing, as in Caffeine.
package tinylfu
