package routing

// Kind is the kind of an Event.
type Kind int

// The kinds of Event.
const (
	// Decided: the middleware selected a version for a request.
	Decided Kind = iota
	// FellBack: a version failed, and the next one in the chain is called.
	FellBack
	// Swapped: a new table is in force.
	Swapped
	// Skipped: a version of the chain lacks what the request needs.
	Skipped
	// Mirrored: a copy of a request was sent to a mirror, and the response was read.
	Mirrored
	// MirrorFull: a request was not copied, because too many copies are in flight.
	MirrorFull
)

// Event describes a decision, a fallback, a mirrored request or a new table.
type Event struct {
	// Kind is the kind of the event.
	Kind Kind
	// Model is the model that the request names.
	Model string
	// Version is the version that was selected, fallen back to, or skipped, or the mirror.
	Version string
	// From is the version that failed (FellBack), or the selected one (Mirrored,
	// MirrorFull).
	From string
	// Status is the status of the failed version's (FellBack) or of the mirror's response
	// (Mirrored); 0 when there was none.
	Status int
	// Err is why there was no response (FellBack), or why it was not complete (Mirrored).
	Err error
	// Lacks is the first missing capability (Skipped): "tools", "json_schema", "vision" or
	// "context".
	Lacks string
}
