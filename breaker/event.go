package breaker

import "time"

// State is that of a circuit.
type State int

// The states.
const (
	// Closed: everything passes.
	Closed State = iota
	// HalfOpen: a growing part passes.
	HalfOpen
	// Open: nothing passes.
	Open
)

// String returns "closed", "half-open" or "open".
func (s State) String() string {
	switch s {
	case Closed:
		return "closed"
	case HalfOpen:
		return "half-open"
	case Open:
		return "open"
	}
	return ""
}

// MarshalText implements encoding.TextMarshaler.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Event tells that a circuit changed its state.
type Event struct {
	// Circuit is its key.
	Circuit string
	// Route is the path, without its ids, when only that changed; else empty.
	Route string
	// From and To are the states.
	From, To State
	// Reason says why: "failures", "slow", "consecutive", "slept", "responded", "relapsed",
	// "recovered", "another route serves", "by hand".
	Reason string
	// Sleep is, when To is Open, for how long.
	Sleep time.Duration
}
