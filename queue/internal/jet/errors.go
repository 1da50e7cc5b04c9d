package jet

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The errors of a Store, for errors.Is.
var (
	// ErrNotFound is returned when there is no such record, result, file or letter.
	ErrNotFound = errors.New("not found")
	// ErrExists is returned when a record or result exists already.
	ErrExists = errors.New("exists already")
	// ErrConflict is returned when the record was changed since it was read.
	ErrConflict = errors.New("changed meanwhile")
	// ErrFull is returned when the work queue or the disk quota is full.
	ErrFull = errors.New("queue is full")
	// ErrLaneFull is returned when one lane is full.
	ErrLaneFull = errors.New("lane is full")
	// ErrUnavailable is returned when the store does not respond. The call may have
	// succeeded all the same.
	ErrUnavailable = errors.New("store does not respond")
)

// codeStoreFailed is the server's code for a stream at a limit.
const codeStoreFailed jetstream.ErrorCode = 10077

// classify wraps an error of the client with one of this package.
func classify(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	if e, ok := errors.AsType[jetstream.JetStreamError](err); ok && e.APIError() != nil {
		if kind := classifyAPI(e.APIError()); kind != nil {
			return fmt.Errorf("%w: %w", kind, err)
		}
	}
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound), errors.Is(err, jetstream.ErrKeyDeleted),
		errors.Is(err, jetstream.ErrMsgNotFound), errors.Is(err, jetstream.ErrObjectNotFound):
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

func classifyAPI(e *jetstream.APIError) error {
	switch e.ErrorCode { //nolint:exhaustive // the others mean a fault of ours or of the server
	case jetstream.JSErrCodeStreamWrongLastSequence, jetstream.JSErrCodeStreamWrongLastSequenceConstant:
		return ErrConflict
	case jetstream.JSErrCodeMessageNotFound:
		return ErrNotFound
	case codeStoreFailed:
		switch {
		case strings.Contains(e.Description, "per subject"):
			return ErrLaneFull
		case strings.Contains(e.Description, "maximum"):
			return ErrFull
		}
	}
	return nil
}

// temporary reports whether a call that failed with err may soon succeed: after the
// loss of a broker, or during an election.
func temporary(err error) bool {
	if errors.Is(err, nats.ErrTimeout) || errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrNoStreamResponse) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrDisconnected) {
		return true
	}
	if e, ok := errors.AsType[jetstream.JetStreamError](err); ok && e.APIError() != nil {
		return e.APIError().Code == 503 && classifyAPI(e.APIError()) == nil // a full stream has this code too
	}
	return false
}
