package balance

import (
	"context"
	"time"
)

// Kind is the kind of an Event.
type Kind int

// The kinds of Event.
const (
	// Added and Removed are changes of the set of endpoints.
	Added Kind = iota
	Removed
	// Drained and Undrained mean that the endpoint gets no new requests, or gets them again.
	Drained
	Undrained
	// Ejected means that outlier detection ejected the endpoint for Event.For.
	Ejected
	// Unhealthy and Recovered are changes by the active checks.
	Unhealthy
	Recovered
	// PanicEntered and PanicLeft mean that too few endpoints are healthy and all are used, or
	// no longer.
	PanicEntered
	PanicLeft
)

// String returns the kind in snake case.
func (k Kind) String() string {
	names := [...]string{"added", "removed", "drained", "undrained", "ejected", "unhealthy", "recovered", "panic_entered", "panic_left"}
	if k < 0 || int(k) >= len(names) {
		return "unknown"
	}
	return names[k]
}

// Event describes a change of an endpoint or of the pool.
type Event struct {
	// Kind is the kind of change.
	Kind Kind
	// Endpoint is the endpoint's name; "" for the pool as a whole.
	Endpoint string
	// For is the duration of an ejection; 0 for other kinds.
	For time.Duration
	// Err is the error of the failed check; nil for other kinds.
	Err error
}

// notifier returns a function that passes events to f. They belong to the pool and to no
// request, so the context of the request that caused one would be wrong.
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
