package ratelimit

import "time"

// Kind says what an Event is about.
type Kind int

// The kinds of Event.
const (
	// Allowed: a request was let in.
	Allowed Kind = iota
	// Refused: a request was turned away.
	Refused
	// Settled: what a request cost in tokens is known.
	Settled
	// StoreDown: a shared store does not answer; SharedConfig.FailureMode applies.
	StoreDown
	// StoreUp: it answers again.
	StoreUp
	// Changed: the limit on concurrency is another.
	Changed
	// WouldRefuse: limits in the shadow would have turned a request away.
	WouldRefuse
)

// Event tells of a decision, or of a change.
type Event struct {
	// Kind says what happened.
	Kind Kind
	// Limit is, in Refused and WouldRefuse, the name of the limit that refused.
	Limit string
	// Key is, in Refused and WouldRefuse, whose bucket it was. It may be personal, and there may be
	// any number of them: it is no label for a metric.
	Key string
	// Wait is, in Allowed, how long the request waited; in Refused and WouldRefuse, when
	// it may try again.
	Wait time.Duration
	// Tokens are, in Allowed and Settled, what was reserved and what was spent.
	Tokens int64
	// Estimated says, in Settled, that the answer did not tell its usage.
	Estimated bool
	// Concurrency is, in Changed, the limit now.
	Concurrency int
	// Err is why, in Refused, WouldRefuse and StoreDown.
	Err error
}
