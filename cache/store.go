package cache

import (
	"context"
	"errors"
)

var (
	// ErrNotFound: the store has no such entry, or no longer.
	ErrNotFound = errors.New("cache: not found")
	// ErrUnavailable: the store did not answer. To a request that is a miss.
	ErrUnavailable = errors.New("cache: store unavailable")
)

// Store keeps entries. [Memory] is one for a single process, package redisstore has one
// that replicas share, and [Tiered] puts the first in front of the second. Package
// storetest says by test what is asked of a store. It is called concurrently.
//
// A store may forget an entry at any time, and must after its Keep. It must not return
// what was set under another key.
type Store interface {
	// Get returns the entry of a key, which nobody may change, or [ErrNotFound]. Any
	// other error wraps [ErrUnavailable].
	Get(ctx context.Context, key string) (*Entry, error)
	// Set keeps an entry, which nobody changes afterwards. One that is too large, or
	// not worth its place, may be dropped without an error.
	Set(ctx context.Context, key string, e *Entry) error
	// Delete forgets a key. One that is not known is no error.
	Delete(ctx context.Context, key string) error
}
