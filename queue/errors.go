package queue

import (
	"errors"

	"github.com/ginfer/ginfer/queue/internal/api"
)

// The errors of requests, for errors.Is. Handlers wrap them in an *apierror.Error.
var (
	// ErrFull is returned when there are too many tasks, of the tenant or in total. The
	// status is 429.
	ErrFull = api.ErrFull
	// ErrNotFound is returned when the caller has no such file, batch or job. The status
	// is 404.
	ErrNotFound = api.ErrNotFound
	// ErrUnavailable is returned when the store does not respond, or [Queue.Run] does not
	// run. The status is 503.
	ErrUnavailable = api.ErrUnavailable
	// ErrInvalid is returned when the request is invalid. The status is 400.
	ErrInvalid = api.ErrInvalid
	// ErrLimit is returned when the caller reaches a limit. The status is 429.
	ErrLimit = api.ErrLimit
	// ErrState is returned when a batch, job or dead letter is not in a state that allows
	// the request. The status is 409.
	ErrState = api.ErrState
	// ErrKeyReused is returned when an Idempotency-Key was used with another request. The
	// status is 422.
	ErrKeyReused = api.ErrKeyReused
)

// The errors of [Queue.Run].
var (
	// ErrRunning is returned when the queue runs already.
	ErrRunning = errors.New("queue: running already")
	// ErrClosed is returned when the connection to the store was closed.
	ErrClosed = errors.New("queue: the connection was closed")
)
