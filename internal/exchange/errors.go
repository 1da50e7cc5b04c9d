package exchange

import (
	"errors"
	"fmt"
	"time"
)

// Causes of contexts and of ends.
var (
	// ErrTimeout is the cause of a context that ended because the upstream was too slow.
	ErrTimeout = errors.New("upstream timeout")
	// ErrDeadline is the cause of a context that ended with the client's own deadline. It does not
	// count against the upstream.
	ErrDeadline = errors.New("proxy: the client's deadline")
	// ErrBeaten is the cause of an attempt that was canceled because another one was faster.
	ErrBeaten = errors.New("proxy: another attempt was faster")

	// ErrStale is returned when a reused connection ended before a byte of the response:
	// servers may close an idle connection just as it is reused.
	ErrStale = errors.New("the server closed an idle connection")
	// ErrCut is returned when a stream with content ended unfinished, or JSON broke off.
	ErrCut = errors.New("the response broke off")
	// ErrEmpty is returned when the response to a call that generates text was empty.
	ErrEmpty = errors.New("the response is empty")
	// ErrNoJSON is returned when a response that declares JSON is not JSON.
	ErrNoJSON = errors.New("the response is not JSON")
	// ErrPanic is returned when a RoundTripper panicked.
	ErrPanic = errors.New("a transport panicked")
	// ErrClosed is returned when the response was closed before its end.
	ErrClosed = errors.New("closed before its end")
)

// StatusError is the error of an attempt with a response status of 400 or above.
type StatusError struct{ Status int }

func (e *StatusError) Error() string { return fmt.Sprintf("status %d", e.Status) }

// GRPCError is the error of an attempt that ended with a grpc-status other than 0.
type GRPCError struct{ Code int }

func (e *GRPCError) Error() string { return fmt.Sprintf("grpc-status %d", e.Code) }

// NotSentError is returned by a layer that refuses an attempt before anything was sent, such as
// an open circuit. It does not count against the endpoint. The request's body is untouched, so
// another endpoint may be used.
type NotSentError struct {
	// Cooldown is how long the endpoint should be avoided; 0: not at all.
	Cooldown time.Duration
}

func (*NotSentError) Error() string { return "nothing was sent" }

// IsRefused reports whether err means that nothing was sent.
func IsRefused(err error) bool {
	_, refused := errors.AsType[*NotSentError](err)
	return refused
}
