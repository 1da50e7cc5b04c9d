package redisstore

import "github.com/ginfer/ginfer/ratelimit"

// Name is a bucket's key in Redis.
func (s *Store) Name(b ratelimit.Bucket) string { return s.key(&b).name }

// Tag is its hash tag in a cluster.
func (s *Store) Tag(b ratelimit.Bucket) string { return s.key(&b).tag }
