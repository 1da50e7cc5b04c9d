package exchange

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/ginfer/ginfer/internal/llm"
)

// facts is the input of judge: what is known of an attempt.
type facts struct {
	status  int
	err     error // of the transport or of reading the body; nil: none
	cause   error // of the attempt's context
	gone    error // the cause of the client's context; nil: the client still waits
	upload  error // of the client's body
	noted   *Verdict
	panic   bool
	eof     bool // the body was read to its end
	closed  bool // the body was closed before its end
	hurried bool // the client's own deadline applies, and is short
	late    bool // the client's own deadline is near or has passed
	invalid bool // the request could not have been sent
	sender  sender
	grpc    int // grpc-status; -1: none

	generates bool // the API generates text
	known     bool // the API is known
	owed      bool // the response must have content
	wantsText bool // the request asks a model for text
	declared  bool // the response declares JSON or a stream
	empty     bool
	broken    bool // it declares JSON, and is not JSON
	cut       bool
	finished  bool
	begun     bool // it had content
	said      *llm.Error
}

// facts returns what is known now. The caller holds a.mu.
func (a *Attempt) facts() facts {
	f := facts{
		status: a.status, err: a.err, cause: context.Cause(a.ctx), noted: a.noted, panic: a.panicked, eof: a.eof, closed: a.closed,
		hurried: a.limits.Hurried && !a.limits.Ample, late: a.limits.isLate(a.start, a.ownLimit, time.Now()), invalid: a.invalid, sender: a.sender, grpc: a.grpc,
		generates: a.generates() && a.status == http.StatusOK, known: a.status == http.StatusOK && a.isKnown(), wantsText: a.generates(), begun: !a.content.IsZero(),
	}
	if a.outer.Err() != nil {
		f.gone = context.Cause(a.outer)
	}
	if a.x.Upload != nil {
		f.upload = a.x.Upload()
	}
	if a.body == nil {
		return f
	}
	if a.body.grpc && a.eof { // before that the transport may write the trailer
		if n := grpcStatus(a.body.res.Trailer); n != noGRPC {
			f.grpc = n
		}
	}
	if a.scans {
		f.read(a)
	}
	return f
}

// read adds the scanner's results. The caller holds a.mu.
func (f *facts) read(a *Attempt) {
	s := a.scanner
	f.declared = s.Declared()
	f.owed = f.known && (f.declared || a.api == llm.Speech)
	f.empty = a.blank || f.declared && s.Empty()
	f.broken = f.declared && !s.Readable()
	f.cut, f.finished, f.said = s.Cut(), s.Finished(), s.Failure()
}

const noGRPC = -1

// grpcStatus returns the status in a trailer, or in the header of a response without a body.
func grpcStatus(h http.Header) int {
	if v := h["Grpc-Status"]; len(v) > 0 {
		if n, err := strconv.Atoi(v[0]); err == nil && n >= 0 {
			return n
		}
	}
	return noGRPC
}

// lateShare is the divisor for the part of the client's time that counts as its end: the server
// sees the same deadline slightly earlier.
const lateShare = 10

// isLate reports whether the client's own deadline is near or has passed, for an attempt that
// began at start and gives its server the limit own; 0: none.
func (l *Limits) isLate(start time.Time, own time.Duration, now time.Time) bool {
	if own > 0 && now.Sub(start) >= own-own/lateShare {
		return true
	}
	if !l.Hurried || l.Deadline.IsZero() {
		return false
	}
	given := l.Deadline.Sub(start)
	return now.After(l.Deadline.Add(-given / lateShare))
}

// grpcTimeout returns the timeout that a gRPC call gives its server; 0: none.
func grpcTimeout(h http.Header) time.Duration {
	v := h.Get("Grpc-Timeout")
	if len(v) < 2 {
		return 0
	}
	n, err := strconv.Atoi(v[:len(v)-1])
	unit := map[byte]time.Duration{
		'H': time.Hour, 'M': time.Minute, 'S': time.Second, 'm': time.Millisecond, 'u': time.Microsecond, 'n': time.Nanosecond,
	}[v[len(v)-1]]
	if err != nil || n < 0 || n > 99_999_999 {
		return 0
	}
	return time.Duration(n) * unit
}
