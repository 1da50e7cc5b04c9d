// Package event defines the events of the other packages in the form that package observe
// records, so that it needs to import none of them. Package events converts them.
package event

import "time"

// Event is one of the types below.
type Event interface{ isEvent() }

type event struct{}

func (event) isEvent() {}

// Exchange is the end of an attempt, or of a whole exchange if Finished. The fields are those of
// proxy.Event.
type Exchange struct {
	event
	Finished, Hedge, Fallback bool
	Attempt                   int
	Endpoint                  string
	Status                    int
	Outcome                   string
	Err                       error
	FirstByte, Duration       time.Duration
	Bytes                     int64
}

// Outcomes of a Usage.
const (
	Complete = "complete"
	Failed   = "failed"
	Canceled = "canceled"
)

// Usage is the usage of an attempt. The fields are those of stream.Usage.
type Usage struct {
	event
	Model                       string
	Status                      int
	Outcome                     string
	Input, Output, Cached       int64
	Estimated, Stream           bool
	Events                      int64
	FirstToken, PerToken, Total time.Duration
	Stalls                      int
}

// Stream is the end of a guarded stream. Err and the word Reason say why the guard ended it.
type Stream struct {
	event
	Err        error
	Reason     string
	Heartbeats int
}

// Caller is the caller of a request.
type Caller struct{ Issuer, Subject, Tenant, Method string }

// Auth is an admitted (nil if anonymous) or refused caller.
type Auth struct {
	event
	Caller   *Caller
	Err      error
	Duration time.Duration
}

// Address is a client address that was refused.
type Address struct{ event }

// Keys is an update of the keys of a source, or its failure.
type Keys struct {
	event
	Source string
	Err    error
}

// Circuit is a circuit that changed its state.
type Circuit struct {
	event
	Upstream, Circuit, State, Reason string
}

// Endpoint is a change of an endpoint.
type Endpoint struct {
	event
	Upstream, Endpoint, Change string
}
