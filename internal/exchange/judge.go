package exchange

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"

	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/llm"
)

// facts are what is known of an attempt when it is judged.
type facts struct {
	status  int
	err     error // of the transport or of reading the body; nil: none
	cause   error // of the attempt's context
	gone    error // of the client's context: why nobody waits any more; nil: somebody does
	upload  error // of the client's body
	noted   *Verdict
	panic   bool
	eof     bool // the body was read to its end
	closed  bool // and this before that
	late    bool // the client gives too little time
	invalid bool // the request could not have been sent
	operate bool // it went with the operator's credential
	grpc    int  // grpc-status; -1: none

	generates bool // the API does
	declared  bool // the response says that it is JSON or a stream
	empty     bool
	broken    bool // it says it is JSON, and is not
	cut       bool
	finished  bool
	begun     bool // it had content
	said      *llm.Error
}

// judge decides how an attempt ended, whose fault that was, and whether another may do
// better. It is the one place that does.
func judge(f *facts) Verdict {
	switch {
	case f.panic:
		return Verdict{Failure, Gateway, false, false, false, ErrPanic}
	case f.noted != nil:
		return *f.noted
	case f.status == 0:
		return f.unanswered()
	case f.status == http.StatusSwitchingProtocols:
		return Verdict{}
	case f.status >= http.StatusBadRequest:
		return f.refused()
	}
	return f.answered()
}

// given is the verdict on an attempt that was given up, and whether it was.
func (f *facts) given() (Verdict, bool) {
	switch {
	case errors.Is(f.cause, ErrBeaten):
		return Verdict{Outcome: Canceled, Err: ErrBeaten}, true
	case f.upload != nil:
		return Verdict{Outcome: Canceled, Blame: Client, Err: f.upload}, true
	case f.gone != nil && errors.Is(f.gone, ErrTimeout), errors.Is(f.gone, context.DeadlineExceeded):
		return Verdict{Outcome: Failure, Blame: Endpoint, Err: f.gone}, true
	case f.gone != nil:
		return Verdict{Outcome: Canceled, Blame: Client, Err: f.gone}, true
	case errors.Is(f.cause, ErrDeadline):
		return Verdict{Outcome: Canceled, Blame: Client, Err: f.cause}, true
	case errors.Is(f.cause, ErrTimeout):
		return Verdict{Outcome: Failure, Blame: Endpoint, Repeatable: true, Err: f.cause}, true
	}
	return Verdict{}, false
}

// unanswered judges an attempt without a response.
func (f *facts) unanswered() Verdict {
	if v, ok := f.given(); ok {
		v.Unsent = isDial(f.err)
		return v
	}
	own, isOwn := errors.AsType[*apierror.Error](f.err)
	switch {
	case isOwn && own.Status >= 400 && own.Status < 500:
		return Verdict{Outcome: Failure, Blame: Request, Err: f.err}
	case f.err == nil: // closed before it was made
		return Verdict{Outcome: Canceled, Err: ErrClosed}
	case f.invalid:
		return Verdict{Outcome: Failure, Blame: Request, Err: f.err}
	case IsRefused(f.err):
		return Verdict{Outcome: Failure, Blame: Nobody, Repeatable: true, Unsent: true, Err: f.err}
	}
	return Verdict{Outcome: Failure, Blame: Endpoint, Repeatable: !isOwn || errors.Is(f.err, ErrTimeout), Unsent: isDial(f.err), Err: f.err}
}

// isDial reports that no connection came about: nothing was sent.
func isDial(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

// refused judges a response whose status says that it is an error. One below 500 is
// nobody's failure.
func (f *facts) refused() Verdict {
	err := error(&StatusError{f.status})
	v := Verdict{Err: err}
	if f.status >= http.StatusInternalServerError {
		v.Outcome = Failure
	}
	if f.status == http.StatusGatewayTimeout && f.late {
		return Verdict{Outcome: Canceled, Blame: Client, Err: err}
	}
	switch kind := f.kind(); kind {
	case llm.Rate, llm.Quota:
		v.Blame, v.Repeatable = Credential, true
		v.Elsewhere = kind == llm.Quota
	case llm.Auth:
		v.Blame, v.Repeatable, v.Elsewhere = Request, false, false
		if f.operate {
			v.Blame, v.Repeatable, v.Elsewhere = Credential, true, true
		}
	case llm.ContextLength, llm.BadRequest:
		v.Blame = Request
		if f.operate && f.status == http.StatusNotFound && kind == llm.BadRequest {
			v.Repeatable, v.Elsewhere = true, true
		}
	case llm.Overloaded, llm.ServerFault:
		v.Blame, v.Repeatable = Endpoint, true
	case llm.UnknownKind:
		v.Repeatable = true
		if f.status >= http.StatusInternalServerError {
			v.Blame = Endpoint
		}
	}
	return v
}

// kind is what the error is about: by its body, and by its status.
func (f *facts) kind() llm.Kind {
	if f.said == nil {
		return llm.Classify(f.status, "", "", "")
	}
	return llm.Classify(f.status, f.said.Type, f.said.Code, f.said.Message)
}

// answered judges a response whose status is good.
func (f *facts) answered() Verdict {
	if f.grpc > 0 {
		return f.called()
	}
	if f.said != nil {
		return f.failed()
	}
	whole := f.eof && !f.cut
	if whole && !(f.generates && f.declared && (f.empty || f.broken)) || f.finished && !f.cut && (f.eof || f.closed || f.err != nil) {
		return Verdict{}
	}
	if v, ok := f.given(); ok {
		v.Repeatable = v.Repeatable && !f.begun
		return v
	}
	v := Verdict{Outcome: Failure, Blame: Endpoint, Repeatable: !f.begun}
	switch {
	case f.err != nil:
		v.Err = f.err
	case f.eof && f.empty:
		v.Err = ErrEmpty
	case f.eof && f.cut:
		v.Err = ErrCut
		if !f.generates && !f.begun { // JSON of an unknown kind
			v.Blame = Nobody
		}
	case f.eof && f.broken:
		v.Err = ErrNoJSON
	case f.closed:
		return Verdict{Outcome: Canceled, Err: ErrClosed}
	default: // it is under way
		return Verdict{}
	}
	return v
}

// failed judges a response that says that it failed.
func (f *facts) failed() Verdict {
	v := Verdict{Outcome: Failure, Repeatable: !f.begun, Err: f.said}
	switch f.said.Kind {
	case llm.BadRequest, llm.ContextLength:
		v.Blame, v.Repeatable = Request, false
	case llm.Quota, llm.Rate:
		v.Blame = Credential
		v.Elsewhere = f.said.Kind == llm.Quota
	case llm.Auth:
		v.Blame, v.Elsewhere = Request, f.operate
		v.Repeatable = v.Repeatable && f.operate
		if f.operate {
			v.Blame = Credential
		}
	case llm.Overloaded, llm.ServerFault:
		v.Blame = Endpoint
	case llm.UnknownKind:
	}
	return v
}

// called judges a call of gRPC by its status (google.rpc.Code).
func (f *facts) called() Verdict {
	v := Verdict{Outcome: Failure, Err: &GRPCError{f.grpc}}
	switch f.grpc {
	case 1: // CANCELLED
		return Verdict{Outcome: Canceled, Blame: Client, Err: v.Err}
	case 2, 13, 14: // UNKNOWN, INTERNAL, UNAVAILABLE
		v.Blame, v.Repeatable = Endpoint, !f.begun
	case 4: // DEADLINE_EXCEEDED
		v.Blame = Endpoint
		if f.late {
			return Verdict{Outcome: Canceled, Blame: Client, Err: v.Err}
		}
	case 8: // RESOURCE_EXHAUSTED
		v.Blame, v.Repeatable = Credential, !f.begun
	default:
		v.Blame = Request
	}
	return v
}

// grpcStatus reads the status of a call from the trailer, or from the header of a response
// without a body; -1: there is none.
func grpcStatus(header, trailer http.Header) int {
	for _, h := range [...]http.Header{trailer, header} {
		if v := h["Grpc-Status"]; len(v) > 0 {
			if n, err := strconv.Atoi(v[0]); err == nil {
				return n
			}
		}
	}
	return -1
}
