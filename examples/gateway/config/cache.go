package config

import "fmt"

// CacheStore bounds the storage of responses. With redis, replicas share a second level behind it.
type CacheStore struct {
	// Entries is the most responses stored in this process. Default: 100000.
	Entries int `json:"entries,omitempty"`
	// Bytes is the most memory that they may use. Default: 268435456.
	Bytes int64 `json:"bytes,omitempty"`
}

// Cache is the stage that serves repeated requests from stored responses.
type Cache struct {
	// TTL is how long a model's response stays fresh. Default: 1m.
	TTL Duration `json:"ttl,omitempty"`
	// Shared lets all callers share responses. Default: false, only those of a tenant, or of a caller
	// without one.
	Shared bool `json:"shared,omitempty"`
	// AllowNonZeroTemperature also stores responses to requests with a temperature other than 0:
	// identical requests get the identical response. Default: false.
	AllowNonZeroTemperature bool `json:"allow_nonzero_temperature,omitempty"`
	// ToolCalls also stores responses that call tools. Default: false.
	ToolCalls bool `json:"tool_calls,omitempty"`
	// OptIn is a request header in which a client sends "on" or "off" for its own request. Default: none.
	OptIn string `json:"opt_in,omitempty"`
	// StaleWhileRevalidate and StaleIfError are how long a stale response may be served while it is
	// refreshed, and when the refresh fails. Default: 0s.
	StaleWhileRevalidate Duration `json:"stale_while_revalidate,omitempty"`
	StaleIfError         Duration `json:"stale_if_error,omitempty"`
	// ReplicaWait is how long a request waits for the response of an identical one at another replica
	// before it is sent too. It requires redis. Default: 0s, each replica sends its own.
	ReplicaWait Duration `json:"replica_wait,omitempty"`
	// Idempotency is how long responses to POSTs with an Idempotency-Key are stored. Default: off.
	Idempotency Duration `json:"idempotency,omitempty"`
}

// caches checks the caches.
func (k *checker) caches(c *Config) {
	if s := c.CacheStore; s != nil && (s.Entries < 0 || s.Bytes < 0) {
		k.Add("cache_store", "entries and bytes must not be negative")
	}
	for i := range c.Groups {
		g := &c.Groups[i]
		if g.Has(StageCache) && g.Cache == nil {
			k.Add(fmt.Sprintf("groups[%d].cache", i), "the stage is on and not configured: use {} for the defaults")
		}
		if g.Cache != nil && g.Cache.ReplicaWait > 0 && c.Redis == nil {
			k.Add(fmt.Sprintf("groups[%d].cache.replica_wait", i), "other replicas are reached through redis, which is not configured")
		}
	}
}
