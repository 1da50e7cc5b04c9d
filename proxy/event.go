package proxy

import "time"

// Kind says what an Event is about.
type Kind int

// The kinds of Event.
const (
	// AttemptEnded: one try ended; another may follow.
	AttemptEnded Kind = iota
	// Finished: the exchange ended.
	Finished
)

// Outcome is how a try or an exchange ended, counted once.
type Outcome int

// The outcomes. A client that leaves is neither a success nor a failure, nor is a try
// that another one beside it was faster than.
const (
	// Success: the answer went through whole and is not a server error.
	Success Outcome = iota
	// Failure: no answer, a broken one, or a status of 500 and above.
	Failure
	// Canceled: the client left, its own deadline passed, or the attempt was beaten by
	// another one ([ErrBeaten]).
	Canceled
	// Refused: the request was not relayed, because of what is wrong with it or because
	// there was no room for it, or its body could not be read; the client got an error
	// of the gateway's. An attempt never ends so.
	Refused
)

// String returns "success", "failure", "canceled" or "refused".
func (o Outcome) String() string {
	switch o {
	case Success:
		return "success"
	case Failure:
		return "failure"
	case Canceled:
		return "canceled"
	case Refused:
		return "refused"
	}
	return ""
}

// Event tells of a finished try or exchange.
type Event struct {
	// Kind says which of the two.
	Kind Kind
	// Attempt is the number of the try, from 1; in Finished how many there were.
	Attempt int
	// Hedge says that the try was begun beside one that was slow; in Finished that it
	// was the faster one.
	Hedge bool
	// Fallback says that a layer below made the attempt after another one: at another
	// version, or without a change that was refused.
	Fallback bool
	// Endpoint is where the (last) try went, when a balancer said so.
	Endpoint string
	// Status is the upstream's status, or in Finished the one the client got;
	// 0 when there was none.
	Status int
	// Outcome is how it ended.
	Outcome Outcome
	// Err is why, when Outcome is not Success.
	Err error
	// FirstByte is the time from the begin of the try (in Finished: of the
	// exchange) to the head of the answer, of a stream of a model to its first
	// content; 0 when none came.
	FirstByte time.Duration
	// Duration is the whole time.
	Duration time.Duration
	// Bytes is how much of the answer's body went to the client.
	Bytes int64
}
