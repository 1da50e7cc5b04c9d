package balance

import (
	"context"
	"time"
)

// Kind says what happened to an endpoint or the pool.
type Kind int

// The kinds of Event.
const (
	// Added, Removed: the set of endpoints changed.
	Added Kind = iota
	Removed
	// Drained, Undrained: the endpoint gets no new requests, or does again.
	Drained
	Undrained
	// Ejected: live requests failed; For says how long.
	Ejected
	// Unhealthy, Recovered: the active checks' verdict changed.
	Unhealthy
	Recovered
	// PanicEntered, PanicLeft: too few endpoints are healthy, and all are used.
	PanicEntered
	PanicLeft
)

// String returns the kind in snake case.
func (k Kind) String() string {
	names := [...]string{"added", "removed", "drained", "undrained", "ejected", "sick", "recovered", "panic_entered", "panic_left"}
	if k < 0 || int(k) >= len(names) {
		return "unknown"
	}
	return names[k]
}

// Event tells of a change.
type Event struct {
	// Kind says which.
	Kind Kind
	// Endpoint is the name; empty for the pool as a whole.
	Endpoint string
	// For is how long an ejection lasts.
	For time.Duration
	// Err is why: the failed check's error.
	Err error
}

// notifier returns what tells f of changes. They are the pool's and no
// request's: the context of the one that noticed would be wrong.
func notifier(f func(context.Context, Event)) func(Event) {
	if f == nil {
		return func(Event) {}
	}
	return func(e Event) { f(context.Background(), e) }
}

func panicKind(panicking bool) Kind {
	if panicking {
		return PanicEntered
	}
	return PanicLeft
}
