package cache

import (
	"context"
	"errors"
	"time"
)

var (
	// ErrNotFound is returned by a Store that has no entry for a key.
	ErrNotFound = errors.New("cache: not found")
	// ErrUnavailable is returned by a Store that is down. For a request it is a miss.
	ErrUnavailable = errors.New("cache: store unavailable")
)

// Store keeps entries. [Memory] is one for a single process, package redisstore has one
// that replicas share, and [Tiered] puts the first in front of the second. Package
// storetest tests the contract of a store. It is called concurrently.
//
// A store may forget an entry at any time, and must after its ExpiresAt. It must not return
// what was set under another key.
type Store interface {
	// Get returns the entry of a key, which must not be changed, or [ErrNotFound]. Any
	// other error wraps [ErrUnavailable].
	Get(ctx context.Context, key string) (*Entry, error)
	// Set stores an entry, which is not changed afterwards. One that is too large, or not
	// worth its place, may be dropped without an error.
	Set(ctx context.Context, key string, e *Entry) error
	// Delete removes a key. It is no error if there is no entry.
	Delete(ctx context.Context, key string) error
}

// Claims is an optional interface of a [Store] that replicas share: it grants a key to one
// of them. Then a request with an Idempotency-Key that is under way at one replica is not
// sent by another, nor, with [LLM].ReplicaWait, an identical request to a model.
type Claims interface {
	// Claim grants the key to owner for ttl, unless another owner has it, and reports
	// whether owner has it. A second claim renews the first. An error wraps
	// [ErrUnavailable].
	Claim(ctx context.Context, key, owner string, ttl time.Duration) (bool, error)
	// Release ends the claim of owner, but not that of another. What owner set under the
	// key is visible to others by then.
	Release(ctx context.Context, key, owner string) error
}
