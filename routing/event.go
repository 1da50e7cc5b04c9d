package routing

// Kind says what an Event is about.
type Kind int

// The kinds of Event.
const (
	// Decided: a request was given a version.
	Decided Kind = iota
	// FellBack: a version failed, and the next one is asked.
	FellBack
	// Swapped: another table is in force.
	Swapped
	// Skipped: a version's turn came, but it can't do what the request needs.
	Skipped
	// Mirrored: a copy of a request was sent to a mirror, and its answer read.
	Mirrored
	// MirrorFull: a request was not copied, because too many copies are under way.
	MirrorFull
)

// Event tells of a decision.
type Event struct {
	// Kind says what happened.
	Kind Kind
	// Model is the request's.
	Model string
	// Version is the one decided on, fallen back to, or skipped, or the mirror.
	Version string
	// From is, in FellBack, the version that failed, and of a mirror the one decided on.
	From string
	// Status is, in FellBack and Mirrored, the status of its answer; 0 when there was none.
	Status int
	// Err is, in FellBack, why there was none; in Mirrored also why it broke off.
	Err error
	// Lacks is, in Skipped, the first thing that the version can't do: "tools",
	// "json_schema", "vision" or "context".
	Lacks string
}
