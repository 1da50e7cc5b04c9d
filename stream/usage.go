package stream

import "time"

// Outcome is the result of one attempt of a request to a model.
type Outcome int

// The outcomes.
const (
	// Complete means that the response reached its end.
	Complete Outcome = iota
	// Failed means that there was no response, that it is an error, or that it broke off.
	Failed
	// Canceled means that the client left, or that another attempt was faster.
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

// Usage is the usage of one attempt of a request to a model.
type Usage struct {
	// Model is the model's name as sent upstream.
	Model string
	// Status is the response's status; 0: there was none.
	Status int
	// Outcome is the result, and Err the reason if it is not Complete.
	Outcome Outcome
	Err     error

	// Input and Output are the tokens that the model read and wrote. A canceled attempt has
	// those delivered by then. An attempt that failed before it delivered anything has none.
	Input, Output int64
	// Cached and CacheWritten are the parts of Input that were read from and written to the
	// server's prompt cache; Reasoning is the part of Output that is no content.
	Cached, CacheWritten, Reasoning int64
	// Estimated reports that the server did not report all counts. Input is then one token per
	// four bytes, Output one per event with text, or per four bytes of text.
	Estimated bool

	// Stream reports whether the response was a stream of events, and Events is how many had text.
	Stream bool
	Events int64
	// FirstToken is the time from the start of the attempt to the first text, or to the
	// beginning of JSON; 0: there was none.
	FirstToken time.Duration
	// PerToken is the mean time between events with text, and Longest the longest.
	PerToken, Longest time.Duration
	// Stalls is the number of these times that reached [MeterConfig].Stall.
	Stalls int
	// Total is the time from the start of the attempt to the end of its response.
	Total time.Duration

	// Attempt is the attempt's number within its request, from 1, Endpoint its endpoint (""
	// without a balancer), and Hedge reports that it was started beside a slow one.
	Attempt  int
	Endpoint string
	Hedge    bool
}
