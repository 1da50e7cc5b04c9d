package event

// Decided is a request that was routed to a version.
type Decided struct {
	event
	Model, Version string
}

// FellBack is a request that was sent to the next version.
type FellBack struct {
	event
	From, Version string
	Status        int
}

// Skipped is a version that lacks what a request needs.
type Skipped struct {
	event
	Version, Lacks string
}

// Swapped is a new table.
type Swapped struct{ event }

// Mirrored is a copy of a request: "success", "failure" or, if it was not sent, "left_out".
type Mirrored struct {
	event
	Version, Outcome string
}

// Rollout is a change of a rollout; State may be "store_down".
type Rollout struct {
	event
	Name, State string
}
