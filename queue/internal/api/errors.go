// Package api has what the HTTP handlers of the queue share: errors, bodies, lists, and
// the names of records.
package api

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/fault"
	"github.com/ginfer/ginfer/queue/internal/jet"
)

// The errors that package queue exports.
var (
	ErrFull        = errors.New("queue: full")
	ErrNotFound    = errors.New("queue: not found")
	ErrUnavailable = errors.New("queue: unavailable")
	ErrInvalid     = errors.New("queue: invalid request")
	ErrLimit       = errors.New("queue: limit reached")
	ErrState       = errors.New("queue: not in this state")
	ErrKeyReused   = errors.New("queue: idempotency key reused")
)

// fullRetryAfter is the Retry-After of a full queue, which drains all the time.
const fullRetryAfter = 5 * time.Second

// Error turns an error of the store into an *apierror.Error.
func Error(err error) error {
	if e, ok := errors.AsType[*apierror.Error](err); ok {
		return e
	}
	switch {
	case errors.Is(err, jet.ErrLaneFull):
		return &apierror.Error{Status: http.StatusTooManyRequests, Code: "tenant_queue_full", Message: "You have too many requests waiting.", RetryAfter: fullRetryAfter, Err: fault.Join(ErrFull, err)}
	case errors.Is(err, jet.ErrFull):
		return &apierror.Error{Status: http.StatusTooManyRequests, Code: "queue_full", Message: "The queue is full.", RetryAfter: fullRetryAfter, Err: fault.Join(ErrFull, err)}
	case errors.Is(err, jet.ErrNotFound):
		return NotFound("There is no such object.", err)
	case errors.Is(err, jet.ErrUnavailable), errors.Is(err, jet.ErrConflict):
		return Unavailable(err)
	}
	return err
}

// Unavailable is a 503.
func Unavailable(err error) error {
	return &apierror.Error{Status: http.StatusServiceUnavailable, Code: "queue_unavailable", Message: "The queue can't be reached now.", RetryAfter: time.Second, Err: fault.Join(ErrUnavailable, err)}
}

// Unwritable is a 503 for a request that writes.
func Unwritable(err error) error {
	return &apierror.Error{Status: http.StatusServiceUnavailable, Code: "queue_unavailable", Message: "The queue can't store anything now.", RetryAfter: time.Second, Err: fault.Join(ErrUnavailable, err)}
}

// NotFound is a 404.
func NotFound(message string, err error) error {
	return &apierror.Error{Status: http.StatusNotFound, Code: "not_found", Message: message, Err: fault.Join(ErrNotFound, err)}
}

// Invalid is a 400.
func Invalid(code, format string, args ...any) error {
	return &apierror.Error{Status: http.StatusBadRequest, Code: code, Message: fmt.Sprintf(format, args...), Err: ErrInvalid}
}

// TooLarge is a 413.
func TooLarge(code, message string) error {
	return &apierror.Error{Status: http.StatusRequestEntityTooLarge, Code: code, Message: message, Err: ErrInvalid}
}

// TooMany is a 429.
func TooMany(code, message string) error {
	return &apierror.Error{Status: http.StatusTooManyRequests, Code: code, Message: message, RetryAfter: time.Minute, Err: ErrLimit}
}

// WrongState is a 409.
func WrongState(code, format string, args ...any) error {
	return &apierror.Error{Status: http.StatusConflict, Code: code, Message: fmt.Sprintf(format, args...), Err: ErrState}
}
