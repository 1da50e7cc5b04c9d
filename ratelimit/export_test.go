package ratelimit

// Len returns the number of buckets kept.
func (m *Memory) Len() int { return m.len() }
