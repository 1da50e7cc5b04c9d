package queue

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/queue/internal/jet"
)

// Why a request is refused, for errors.Is. Handlers wrap them in an *apierror.Error.
var (
	// ErrFull: there are too many tasks already, the tenant's or all. Answered with
	// 429.
	ErrFull = errors.New("queue: full")
	// ErrNotFound: the caller has no such file, batch or job. Answered with 404.
	ErrNotFound = errors.New("queue: not found")
	// ErrUnavailable: the store does not answer, or Run does not run. Answered with
	// 503.
	ErrUnavailable = errors.New("queue: unavailable")
	// ErrInvalid: the request is not as it must be. Answered with 400.
	ErrInvalid = errors.New("queue: invalid request")
	// ErrLimit: a bound of the caller's is reached. Answered with 429.
	ErrLimit = errors.New("queue: limit reached")
	// ErrState: it is too late for that, or too early. Answered with 409.
	ErrState = errors.New("queue: not in this state")
	// ErrKeyReused: an Idempotency-Key came with another request. Answered with 422.
	ErrKeyReused = errors.New("queue: idempotency key reused")
)

// fullFor is when it is worth asking again: tasks end all the time.
const fullFor = 5 * time.Second

// faultOf turns an error of the store into an answer.
func faultOf(err error) error {
	if e, ok := errors.AsType[*apierror.Error](err); ok {
		return e
	}
	switch {
	case errors.Is(err, jet.ErrLaneFull):
		return &apierror.Error{Status: http.StatusTooManyRequests, Code: "tenant_queue_full", Message: "You have too many requests waiting.", RetryAfter: fullFor, Err: errors.Join(ErrFull, err)}
	case errors.Is(err, jet.ErrFull):
		return &apierror.Error{Status: http.StatusTooManyRequests, Code: "queue_full", Message: "The queue is full.", RetryAfter: fullFor, Err: errors.Join(ErrFull, err)}
	case errors.Is(err, jet.ErrNotFound):
		return notFound("There is nothing of this name.", err)
	case errors.Is(err, jet.ErrUnavailable), errors.Is(err, jet.ErrConflict):
		return unavailable(err)
	}
	return err
}

func unavailable(err error) error {
	return &apierror.Error{Status: http.StatusServiceUnavailable, Code: "queue_unavailable", Message: "The queue can't be reached now.", RetryAfter: time.Second, Err: errors.Join(ErrUnavailable, err)}
}

func notFound(message string, err error) error {
	return &apierror.Error{Status: http.StatusNotFound, Code: "not_found", Message: message, Err: errors.Join(ErrNotFound, err)}
}

func invalid(code, format string, args ...any) error {
	return &apierror.Error{Status: http.StatusBadRequest, Code: code, Message: fmt.Sprintf(format, args...), Err: ErrInvalid}
}

func tooMany(code, message string) error {
	return &apierror.Error{Status: http.StatusTooManyRequests, Code: code, Message: message, RetryAfter: time.Minute, Err: ErrLimit}
}

func wrongState(code, format string, args ...any) error {
	return &apierror.Error{Status: http.StatusConflict, Code: code, Message: fmt.Sprintf(format, args...), Err: ErrState}
}
