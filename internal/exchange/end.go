package exchange

import (
	"net/http"
	"time"

	"github.com/ginfer/ginfer/internal/llm"
)

// Outcome is the result of an attempt.
type Outcome uint8

// The outcomes.
const (
	// Success means that the response was complete and is no server error.
	Success Outcome = iota
	// Failure means that there was no response, that it broke off, or that it is an error.
	Failure
	// Canceled means that the rest of the response was no longer wanted.
	Canceled
)

// Blame identifies the party responsible for an attempt that was no plain success.
type Blame uint8

// The parties. A circuit counts Endpoint only.
const (
	Nobody Blame = iota
	Endpoint
	// Request means that any endpoint would refuse the request.
	Request
	// Credential means that the credential is spent, limited or not accepted. Others may work.
	Credential
	Client
	Gateway
)

// String returns the name used in logs.
func (b Blame) String() string {
	return [...]string{"nobody", "endpoint", "request", "credential", "client", "gateway"}[b]
}

// Verdict is the judgment of an attempt's end.
type Verdict struct {
	Outcome Outcome
	Blame   Blame
	// Repeatable reports whether another attempt may do better, at another endpoint or later.
	// Elsewhere restricts that to another credential or another upstream.
	Repeatable, Elsewhere bool
	// Withheld reports that the upstream's text may describe the operator's credential, and
	// must not reach the client.
	Withheld bool
	// Unsent reports that no connection was made, so that no upstream has seen the request.
	Unsent bool
	// Err is the reason why the attempt was no success; nil if it was.
	Err error
}

// Good reports whether the attempt counts in its endpoint's favor.
func (v Verdict) Good() bool { return v.Outcome == Success && v.Blame == Nobody }

// Bad reports whether the attempt counts against its endpoint.
func (v Verdict) Bad() bool { return v.Blame == Endpoint }

// End describes the end of an attempt. It does not change.
type End struct {
	Verdict

	Attempt *Attempt
	// Status is the response's status; 0: there was no response.
	Status int
	// Header is the response's header. It must not be changed.
	Header http.Header
	// Said is the error that the response is or contains; nil if there is none.
	Said *llm.Error
	// Stream reports that the response was a stream of events, Whole that it reached its end,
	// Readable that its content could be parsed.
	Stream, Whole, Readable bool
	// Usage is the usage of tokens, and Counted reports that the server counted it. Delivered
	// is the estimated number of tokens received.
	Usage     llm.Usage
	Counted   bool
	Delivered int64
	// Events is the number of events with content.
	Events int64
	Finish llm.Finish
	// Place is the position at which the stream ended.
	Place llm.Place
	// Summary is what a store of responses needs to know of the response.
	Summary llm.Summary
	API     llm.API

	// Start is when the attempt began, Head when its response began, Content when its content
	// began, Over when it ended. Zero: it did not.
	Start, Head, Content, Over time.Time
	// Bytes is the length of the body, in bytes.
	Bytes int64
}
