package stream

import "time"

// Event describes a stream that has ended.
type Event struct {
	// Duration is the time since the head of the response.
	Duration time.Duration
	// Bytes is the number of bytes that the handler wrote, without heartbeats.
	Bytes int64
	// Heartbeats is the number of comments sent.
	Heartbeats int
	// Err is the reason why the guard ended the stream: [ErrIdle], [ErrTotal], [ErrDraining] or
	// [ErrSlowClient]; nil if it did not. The proxy reports the outcome of the exchange.
	Err error
}
