package main

import "fmt"

// CacheStore is where answers are kept. With redis, replicas share them behind this.
type CacheStore struct {
	// Entries is how many are kept in this process at most. Default 100000.
	Entries int `json:"entries,omitempty"`
	// Bytes is how much memory they may take. Default 268435456.
	Bytes int64 `json:"bytes,omitempty"`
}

// Cache is the stage that answers again what was asked before.
type Cache struct {
	// TTL is for how long an answer of a model is fresh. Default 1m.
	TTL Duration `json:"ttl,omitempty"`
	// Shared lets all callers share answers. Default: only those of a tenant, or of a caller
	// who has none.
	Shared bool `json:"shared,omitempty"`
	// Sampled also keeps answers whose temperature is not 0: all who ask the same get the same one.
	// Default false.
	Sampled bool `json:"sampled,omitempty"`
	// ToolCalls also keeps answers that call tools. Default false.
	ToolCalls bool `json:"tool_calls,omitempty"`
	// OptIn is a request header by which a client says "on" or "off" for its own request. Default: none.
	OptIn string `json:"opt_in,omitempty"`
	// StaleWhileRevalidate and StaleIfError are for how long a stale answer may be used while a new one
	// is fetched, and when there is none. Default 0s.
	StaleWhileRevalidate Duration `json:"stale_while_revalidate,omitempty"`
	StaleIfError         Duration `json:"stale_if_error,omitempty"`
	// Idempotency records the answers to POSTs with an Idempotency-Key for so long. Default off.
	Idempotency Duration `json:"idempotency,omitempty"`
}

// caches checks what is said of caches.
func (k *checker) caches(c *Config) {
	if s := c.CacheStore; s != nil && (s.Entries < 0 || s.Bytes < 0) {
		k.add("cache_store", "entries and bytes must not be negative")
	}
	for i := range c.Groups {
		g := &c.Groups[i]
		if g.has(stageCache) && g.Cache == nil {
			k.add(fmt.Sprintf("groups[%d].cache", i), "the stage is on: say what it keeps, {} for the defaults")
		}
	}
}
