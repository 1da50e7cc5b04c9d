package jet

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// What a Store can say.
var (
	// ErrNotFound: there is no such thing, or no longer.
	ErrNotFound = errors.New("not found")
	// ErrExists: there is one already.
	ErrExists = errors.New("exists already")
	// ErrConflict: somebody else changed the record meanwhile.
	ErrConflict = errors.New("changed meanwhile")
	// ErrFull: the work queue, or the disk's share, is full.
	ErrFull = errors.New("queue is full")
	// ErrLaneFull: one lane of it is.
	ErrLaneFull = errors.New("lane is full")
	// ErrUnavailable: the store does not answer. What was asked may have been done.
	ErrUnavailable = errors.New("store does not answer")
)

// codeStoreFailed is what the server says of a stream at a limit.
const codeStoreFailed jetstream.ErrorCode = 10077

// classify puts the meaning in front of a client's error.
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

// passing says that a call that failed so may well succeed soon: a broker that
// was killed, an election.
func passing(err error) bool {
	if errors.Is(err, nats.ErrTimeout) || errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrNoStreamResponse) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrDisconnected) {
		return true
	}
	if e, ok := errors.AsType[jetstream.JetStreamError](err); ok && e.APIError() != nil {
		return e.APIError().Code == 503 && classifyAPI(e.APIError()) == nil // one that is full has this code too
	}
	return false
}

const (
	tries   = 4
	perTry  = 3 * time.Second
	between = 150 * time.Millisecond
)

// again calls a function, which may be called twice, until it works or fails for
// good. A call shortly after the loss of a broker can time out.
func (s *Store) again(ctx context.Context, call func(context.Context) error) error {
	var err error
	for try := range tries {
		err = nats.ErrDisconnected // a call would wait in vain
		if s.nc.IsConnected() {
			err = once(ctx, call)
		}
		if err == nil || !passing(err) || ctx.Err() != nil || try == tries-1 {
			break
		}
		if !Sleep(ctx, between<<try) {
			break
		}
	}
	return classify(err)
}

func once(ctx context.Context, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, perTry)
	defer cancel()
	return call(ctx)
}

// Sleep waits for d, or until ctx ends: then it is false.
func Sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
