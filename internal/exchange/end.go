package exchange

import (
	"net/http"
	"time"

	"github.com/ginfer/ginfer/internal/llm"
)

// Outcome is how an attempt ended.
type Outcome uint8

// The outcomes.
const (
	// Success: the response went through whole and is no server's error.
	Success Outcome = iota
	// Failure: there was none, it broke off, or it says that it failed.
	Failure
	// Canceled: nobody wanted the rest.
	Canceled
)

// Blame is whose fault it was that an attempt was no plain success.
type Blame uint8

// Whose fault it may be. A circuit counts Endpoint only.
const (
	Nobody Blame = iota
	Endpoint
	// Request: any endpoint would refuse it.
	Request
	// Credential: it is spent, too busy, or not accepted. Others may go on.
	Credential
	Client
	Gateway
)

// String is the name in logs.
func (b Blame) String() string {
	return [...]string{"nobody", "endpoint", "request", "credential", "client", "gateway"}[b]
}

// Verdict is what an attempt's end means.
type Verdict struct {
	Outcome Outcome
	Blame   Blame
	// Repeatable: another attempt may do better, at another endpoint or later. Elsewhere:
	// only with another credential or another upstream.
	Repeatable, Elsewhere bool
	// Withheld: what the upstream said may name the operator's credential, and is not for
	// the client.
	Withheld bool
	// Unsent: no connection came about, so that no upstream has seen the request.
	Unsent bool
	// Err is why the attempt was no success; nil if it was.
	Err error
}

// Good reports whether the attempt speaks for its endpoint.
func (v Verdict) Good() bool { return v.Outcome == Success && v.Blame == Nobody }

// Bad reports whether it speaks against it.
func (v Verdict) Bad() bool { return v.Blame == Endpoint }

// End is how an attempt ended. It does not change.
type End struct {
	Verdict

	Attempt *Attempt
	// Status is that of the response; 0: there was none.
	Status int
	// Header is that of the response. It must not be changed.
	Header http.Header
	// Said is the error that the response is, or has in it; nil if there is none.
	Said *llm.Error
	// Stream: it was a stream of events. Whole: it came to its end. Readable: its content
	// could be read.
	Stream, Whole, Readable bool
	// Usage is what was counted, and Counted that the server did it. Delivered estimates
	// the tokens that came.
	Usage     llm.Usage
	Counted   bool
	Delivered int64
	// Events is how many had content.
	Events int64
	Finish llm.Finish
	// Summary is what matters of the response to who keeps it.
	Summary llm.Summary
	API     llm.API

	// Start is when the attempt began, Head when its response did, Content when that had
	// content, Over when it ended. Zero: it did not.
	Start, Head, Content, Over time.Time
	// Bytes is how long the body was.
	Bytes int64
}
