package apierror

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/ginfer/ginfer/internal/llm"
)

// StatusClientClosed is the status recorded when the client disconnects before a response.
// Like nginx's 499, it appears in logs only.
const StatusClientClosed = 499

// StatusOverloaded is the status that model servers respond with when they are overloaded.
const StatusOverloaded = 529

// Error is an error response of the gateway. It is immutable: copy it to change it.
type Error struct {
	// Status is the HTTP status. Default: 500, also for a status that no final response can
	// have.
	Status int
	// Type is the OpenAI error type. Default: by Status.
	Type string
	// Code is the machine-readable reason in snake case. Default: Type.
	Code string
	// Message is the human-readable text that is sent to the client. Default: the status
	// text.
	Message string
	// RetryAfter is when to retry. It is sent as Retry-After (whole seconds, rounded up),
	// retry-after-ms, and x-should-retry. Default: 0, not sent.
	RetryAfter time.Duration
	// Err is the cause. It is logged and matched by errors.Is, never sent. Default: none.
	Err error
}

// Error returns the message and the cause as one line, which starts in lower case and has no
// final stop.
func (e *Error) Error() string {
	msg := lower(strings.TrimSuffix(e.message(), "."))
	if e.Message == "" {
		msg = strings.ToLower(msg)
	}
	if e.Err == nil {
		return msg
	}
	return msg + ": " + strings.ReplaceAll(e.Err.Error(), "\n", "; ")
}

// lower lowers the first letter of a sentence, unless it begins an acronym.
func lower(sentence string) string {
	first, size := utf8.DecodeRuneInString(sentence)
	if next, _ := utf8.DecodeRuneInString(sentence[size:]); unicode.IsUpper(next) {
		return sentence
	}
	return string(unicode.ToLower(first)) + sentence[size:]
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// From returns the first *Error in err's chain, or a new one for err: 413 for a body over
// its limit, 504 for an exceeded deadline, 499 for a client disconnect, otherwise 500
// without any text of err. It never returns nil.
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

// known returns ErrUnknown for a nil error, and for one with a nil *Error in its chain,
// as its methods would panic.
func known(err error) error {
	if e, ok := errors.AsType[*Error](err); err == nil || ok && e == nil {
		return ErrUnknown
	}
	return err
}

// status returns e's status if a final response can have it. After a 1xx status net/http
// would respond with 200.
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

// in returns the fields of the error for a stream that broke off at p.
func (e *Error) in(p llm.Place) llm.ErrorFields {
	t := e.text()
	t.Place = p
	return t
}

// text returns the fields of the error, independent of an API.
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
