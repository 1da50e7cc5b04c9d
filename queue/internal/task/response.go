package task

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// Response is the outcome of an attempt.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
	// Err is why there is no response.
	Err  error
	Took time.Duration
}

// Why an attempt has no response.
var (
	// ErrIncomplete is set when the handler aborted its response.
	ErrIncomplete = errors.New("queue: incomplete response")
	// ErrPanic is set when the handler panicked.
	ErrPanic = errors.New("queue: the handler panicked")
	// ErrTooLarge is set when the response exceeds Limits.ResultBytes.
	ErrTooLarge = errors.New("queue: the response is too large")
)

// Succeeded reports whether the response is a 2xx.
func (r *Response) Succeeded() bool { return r.Err == nil && r.Status/100 == 2 }

// Retriable reports whether another attempt may succeed.
func (r *Response) Retriable() bool {
	switch {
	case r.Err != nil:
		return !errors.Is(r.Err, ErrTooLarge)
	case r.Status == http.StatusTooManyRequests: // even when clients should give up: the queue has time
		return true
	case r.Header.Get("X-Should-Retry") == "false", r.Status == http.StatusNotImplemented:
		return false
	}
	return r.Status >= 500 || r.Status == http.StatusRequestTimeout || r.Status == http.StatusTooEarly || r.Header.Get("X-Should-Retry") == "true"
}

// RequestID returns the upstream's ID of the request, if it sent one.
func (r *Response) RequestID() string {
	for _, name := range []string{"X-Request-ID", "Request-ID"} {
		if v := r.Header.Get(name); v != "" {
			return v
		}
	}
	return ""
}

// Error is an error as the owner of a task sees it.
type Error struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// ErrorOf describes an error to the owner of the task, without internals.
func ErrorOf(err error) *Error {
	var own *Error
	switch {
	case errors.As(err, &own):
		return own
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, http.ErrHandlerTimeout):
		return &Error{"timeout", "The request took too long."}
	case errors.Is(err, ErrTooLarge):
		return &Error{"response_too_large", "The response is too large to be stored."}
	case errors.Is(err, ErrIncomplete):
		return &Error{"response_cut", "The response is incomplete."}
	}
	return &Error{"request_failed", "The request could not be carried out."}
}
