package event

import "time"

// Allowed is a request that a limiter let in.
type Allowed struct {
	event
	Limiter string
	Wait    time.Duration
	Tokens  int64
}

// Refused is a request that a limiter refused, or would have refused in shadow mode.
type Refused struct {
	event
	Limiter, Limit string
	Shadow         bool
}

// Settled is the final number of tokens of a request.
type Settled struct {
	event
	Limiter string
	Tokens  int64
}

// Concurrency is a new limit of concurrent requests.
type Concurrency struct {
	event
	Limiter string
	Max     int
}

// LimitStore is the state of a limiter's shared store.
type LimitStore struct {
	event
	Limiter string
	Down    bool
}

// CacheResult is what a cache did with a request.
type CacheResult struct {
	event
	Cache, Policy, Result, Reason string
}

// CacheChange is a change of a cache's entries.
type CacheChange struct {
	event
	Cache, Change, Reason string
}

// CacheStore is the state of a cache's shared store.
type CacheStore struct {
	event
	Cache string
	Down  bool
}
