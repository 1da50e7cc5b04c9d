package stream

import "time"

// Event tells of a stream that ended.
type Event struct {
	// Duration is its age, from the head of the answer on.
	Duration time.Duration
	// Bytes is what the handler wrote; heartbeats are not in it.
	Bytes int64
	// Heartbeats is the number of comments sent.
	Heartbeats int
	// Err is why the guard ended it: [ErrIdle], [ErrTotal], [ErrDraining] or
	// [ErrSlowClient]; nil when it did not. How the exchange ended is for the
	// proxy to say.
	Err error
}
