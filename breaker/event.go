package breaker

import "time"

// State is the state of a circuit.
type State int

// The states.
const (
	// Closed admits every request.
	Closed State = iota
	// HalfOpen admits a growing share of requests.
	HalfOpen
	// Open rejects requests.
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

// Event describes a change of a circuit's state.
type Event struct {
	// Circuit is the circuit's key.
	Circuit string
	// Route is the path, without ids, if only a route changed; "": the circuit.
	Route string
	// From and To are the states before and after.
	From, To State
	// Reason is the cause: "failures", "slow", "consecutive", "slept", "responded", "relapsed",
	// "recovered", "another route serves" or "by hand".
	Reason string
	// Sleep is how long the circuit stays open; 0 if To is not Open.
	Sleep time.Duration
}
