package cache

import "time"

// Kind says what an Event is about.
type Kind int

// The kinds of Event.
const (
	// Hit: a request is answered from the cache. It costs the upstream nothing: a limit
	// on tokens should be told so (ratelimit.Report with 0 and 0). Told before the
	// answer is written, with the request's context.
	Hit Kind = iota
	// Coalesced: a request is answered by what another one is just being told. It costs
	// the upstream nothing either. Told as Hit is.
	Coalesced
	// Missed: a request goes on to the upstream, and its answer may be stored.
	Missed
	// Bypassed: the cache has nothing to do with a request, for the Reason.
	Bypassed
	// Stored: an answer was stored.
	Stored
	// NotStored: an answer was not stored, for the Reason.
	NotStored
	// Refreshed: an answer was fetched again, without a client that waits for it.
	Refreshed
	// Evicted: an entry had to make room.
	Evicted
	// Purged: entries were made unreachable.
	Purged
	// Dropped: a client that reads too slowly was cut off, so that others need not wait.
	Dropped
	// StoreDown: a store does not answer; until StoreUp the cache does without it.
	StoreDown
	// StoreUp: it answers again.
	StoreUp
	// Failed: something of the cache's own failed, and the request was none the worse.
	Failed
)

// Event tells of a decision, or of a change.
type Event struct {
	// Kind says what happened.
	Kind Kind
	// Key is which entry it is about. There may be any number of them: it is no label for
	// a metric.
	Key string
	// Policy is by which rules the request was treated: "llm", "http" or "idempotency".
	Policy string
	// Model and Version are, under the LLM policy, whose answer it is. Clients choose the
	// model: whoever makes a label of it must bound it.
	Model, Version string
	// Reason is, in Bypassed and NotStored, a word that says why.
	Reason string
	// Tag is, in Purged, what was purged.
	Tag Tag
	// Status is, in Hit, Coalesced, Stored and NotStored, the answer's.
	Status int
	// Bytes are, in Stored and Evicted, about how much memory the entry takes.
	Bytes int64
	// TTL is, in Hit and Stored, for how long the entry is fresh. In a Hit it is negative
	// when the entry is stale.
	TTL time.Duration
	// FetchDuration is, in Stored and Refreshed, how long the upstream took.
	FetchDuration time.Duration
	// Err is why, in StoreDown and Failed.
	Err error
}
