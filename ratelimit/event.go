package ratelimit

import "time"

// Kind is the kind of an Event.
type Kind int

// The kinds of Event.
const (
	// Allowed: a request was let in.
	Allowed Kind = iota
	// Refused: a request was refused.
	Refused
	// Settled: the cost of a request in tokens is known.
	Settled
	// StoreDown: a shared store is down; SharedConfig.FailureMode applies.
	StoreDown
	// StoreUp: a shared store is up again.
	StoreUp
	// Changed: the limit on concurrency changed.
	Changed
	// WouldRefuse: a limit in shadow mode would have refused a request.
	WouldRefuse
)

// Event describes a decision about a request, or a change.
type Event struct {
	// Kind is the kind of the event.
	Kind Kind
	// Limit is the name of the limit that refused (Refused, WouldRefuse).
	Limit string
	// Key is the key of the bucket that refused (Refused, WouldRefuse). It may be personal
	// and unbounded: it is no label for a metric.
	Key string
	// Wait is how long the request waited (Allowed), or when it may be repeated (Refused,
	// WouldRefuse).
	Wait time.Duration
	// Tokens is the number of tokens reserved (Allowed) or spent (Settled).
	Tokens int64
	// Estimated is set when the response had no usage (Settled).
	Estimated bool
	// Concurrency is the new limit (Changed).
	Concurrency int
	// Err is the cause (Refused, WouldRefuse, StoreDown).
	Err error
}
