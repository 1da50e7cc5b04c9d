package exchange

import (
	"errors"
	"fmt"
	"time"
)

// Causes of contexts and of ends.
var (
	// ErrTimeout is the cause of a context that ended because the upstream was too slow, and
	// not because the client left.
	ErrTimeout = errors.New("upstream timeout")
	// ErrDeadline is the cause of a context that ended because the time had passed which the
	// client itself gives. That says nothing of the upstream.
	ErrDeadline = errors.New("proxy: the client's deadline")
	// ErrBeaten is the cause of an attempt that was given up because another was faster.
	ErrBeaten = errors.New("proxy: another attempt was faster")

	// ErrStale is the error of a connection that was used before, and that ended before a byte
	// of the response: servers close idle connections, also in the moment in which one is used.
	ErrStale = errors.New("the server closed an idle connection")
	// ErrCut: a stream had content and ended without being finished, or JSON broke off.
	ErrCut = errors.New("the response broke off")
	// ErrEmpty: a response to a call that generates text had nothing in it.
	ErrEmpty = errors.New("the response is empty")
	// ErrNoJSON: a response that says it is JSON is none.
	ErrNoJSON = errors.New("the response is not JSON")
	// ErrPanic: a RoundTripper panicked.
	ErrPanic = errors.New("a transport panicked")
	// ErrClosed: the rest of the response was not wanted.
	ErrClosed = errors.New("closed before its end")
)

// StatusError is the error of an attempt whose response has a status of 400 or above.
type StatusError struct{ Status int }

func (e *StatusError) Error() string { return fmt.Sprintf("status %d", e.Status) }

// GRPCError is the error of an attempt that ended with this grpc-status.
type GRPCError struct{ Code int }

func (e *GRPCError) Error() string { return fmt.Sprintf("grpc-status %d", e.Code) }

// NotSentError is what a layer refuses an attempt with before anything was sent, as an open
// circuit does. It is no failure of the endpoint, another may be asked, and the request's
// body was not touched.
type NotSentError struct {
	// Cooldown is how long the endpoint should be left alone; 0: not at all.
	Cooldown time.Duration
}

func (*NotSentError) Error() string { return "nothing was sent" }

// IsRefused reports whether err says that nothing was sent.
func IsRefused(err error) bool {
	_, refused := errors.AsType[*NotSentError](err)
	return refused
}
