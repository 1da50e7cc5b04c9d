package apierror

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/ginfer/ginfer/internal/llm"
)

// StatusClientClosed is the status recorded when the client left before an
// answer; nginx's number, never seen by anybody but logs.
const StatusClientClosed = 499

// StatusOverloaded is the status that model servers use for "try later".
const StatusOverloaded = 529

// Error is an answer of the gateway's own. It is immutable once made: copy it
// to change it. Zero fields have the defaults named below.
type Error struct {
	// Status is the HTTP status. Default 500, also for one that no final answer
	// can have.
	Status int
	// Type is the OpenAI error type. Default: by Status.
	Type string
	// Code is the machine-readable reason in snake case. Default: Type.
	Code string
	// Message is for people and is sent to the client. Default: the status text.
	Message string
	// RetryAfter, when positive, is sent as Retry-After (whole seconds, rounded
	// up), retry-after-ms, and x-should-retry.
	RetryAfter time.Duration
	// Err is the cause: logged, matched by errors.Is, never sent.
	Err error
}

// Error returns the message and the cause, in one line.
func (e *Error) Error() string {
	msg := e.message()
	if e.Err == nil {
		return msg
	}
	return msg + ": " + strings.ReplaceAll(e.Err.Error(), "\n", "; ")
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// From returns the first *Error in err's chain, or one made for err: 413 for
// a body over its bound, 504 for a passed deadline, 499 for a client that left,
// otherwise 500 without any text of err. It never returns nil.
func From(err error) *Error {
	err = known(err)
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return &Error{Status: http.StatusRequestEntityTooLarge, Code: "request_too_large", Message: "The request body is too large.", Err: err}
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{Status: http.StatusGatewayTimeout, Code: "timeout", Message: "The request took too long.", Err: err}
	case errors.Is(err, context.Canceled):
		return &Error{Status: StatusClientClosed, Code: "client_closed_request", Message: "The client closed the request.", Err: err}
	}
	return &Error{Status: http.StatusInternalServerError, Code: "internal_error", Message: "An internal error occurred.", Err: err}
}

// known returns ErrUnknown for a nil error and for one with a nil *Error in its
// chain, whose methods can't be called.
func known(err error) error {
	if e, ok := errors.AsType[*Error](err); err == nil || ok && e == nil {
		return ErrUnknown
	}
	return err
}

// status is e's, if an answer can have it. After a head with a 1xx status
// net/http would answer 200.
func (e *Error) status() int {
	if e.Status < 200 || e.Status > 999 {
		return http.StatusInternalServerError
	}
	return e.Status
}

func (e *Error) message() string {
	if e.Message != "" {
		return e.Message
	}
	if text := title(e.status()); text != "" {
		return text
	}
	return "Error"
}

func (e *Error) openAIType() string {
	if e.Type != "" {
		return e.Type
	}
	return llm.OpenAIType(e.status())
}

func (e *Error) code() string {
	if e.Code != "" {
		return e.Code
	}
	return e.openAIType()
}

// in is the error as text for a stream that broke off there.
func (e *Error) in(p llm.Place) llm.ErrorFields {
	t := e.text()
	t.Place = p
	return t
}

// text is the error in the words of no API yet.
func (e *Error) text() llm.ErrorFields {
	return llm.ErrorFields{Status: e.status(), Type: e.openAIType(), Code: e.code(), Message: e.message()}
}

func title(status int) string {
	switch status {
	case StatusClientClosed:
		return "Client Closed Request"
	case StatusOverloaded:
		return "Overloaded"
	}
	return http.StatusText(status)
}
