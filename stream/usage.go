package stream

import "time"

// Outcome is how a try of a request to a model ended.
type Outcome int

// The outcomes.
const (
	// Complete: the answer came to its end.
	Complete Outcome = iota
	// Failed: none came, it says that it failed, or it broke off.
	Failed
	// Canceled: nobody wanted the rest: the client left, or another try was faster.
	Canceled
)

// String returns "complete", "failed" or "canceled".
func (o Outcome) String() string {
	switch o {
	case Complete:
		return "complete"
	case Failed:
		return "failed"
	case Canceled:
		return "canceled"
	}
	return ""
}

// Usage is what one try of a request to a model took.
type Usage struct {
	// Model is its name as it was sent upstream.
	Model string
	// Status is the answer's; 0 when none came.
	Status int
	// Outcome is how it ended, and Err why, when it is not Complete.
	Outcome Outcome
	Err     error

	// Input are the tokens that the model read, Output those that it wrote. Of a try
	// that was cancelled they are those delivered by then. A try that failed before it
	// delivered anything has none.
	Input, Output int64
	// Cached and CacheWritten are the parts of Input that were read from and written to
	// the server's prompt cache; Reasoning is the part of Output that is no content.
	Cached, CacheWritten, Reasoning int64
	// Estimated: the server did not say all of it. Input is then a token for four bytes,
	// Output one for each event with text, or for four bytes of text.
	Estimated bool

	// Stream says whether the answer was a stream of events, and Events how many had text.
	Stream bool
	Events int64
	// FirstToken is the time from the begin of the try to the first text, of JSON to its
	// beginning; 0: there was none.
	FirstToken time.Duration
	// PerToken is the mean time between events with text, and Longest the longest.
	PerToken, Longest time.Duration
	// Stalls are how many of these times were longer than [MeterConfig].Stall.
	Stalls int
	// Total is the time from the begin of the try to the end of its answer.
	Total time.Duration

	// Attempt is its number among those of its request, from 1, Endpoint where it went, when
	// a balancer says so, and Hedge that it was begun beside a slow one.
	Attempt  int
	Endpoint string
	Hedge    bool
}
