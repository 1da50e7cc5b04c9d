package exchange

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"

	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/llm"
)

// judge decides how an attempt ended, whose fault that was, and whether another may do
// better. It is the one place that does.
func judge(f *facts) Verdict {
	switch {
	case f.panic:
		return Verdict{Outcome: Failure, Blame: Gateway, Err: ErrPanic}
	case f.noted != nil:
		return *f.noted
	case f.status == 0:
		return f.without()
	case f.status == http.StatusSwitchingProtocols:
		return Verdict{}
	case f.grpc > 0:
		return f.called()
	case f.status >= http.StatusBadRequest:
		return f.refused()
	case f.said != nil:
		return f.failed()
	}
	return f.with()
}

// given is the verdict on an attempt that was given up, and whether it was.
func (f *facts) given() (Verdict, bool) {
	timeout, _ := errors.AsType[*TimeoutError](f.cause)
	switch {
	case errors.Is(f.cause, ErrBeaten):
		return Verdict{Outcome: Canceled, Err: ErrBeaten}, true
	case f.upload != nil:
		return Verdict{Outcome: Canceled, Blame: Client, Err: f.upload}, true
	case errors.Is(f.gone, ErrTimeout), errors.Is(f.gone, context.DeadlineExceeded):
		return Verdict{Outcome: Failure, Blame: Endpoint, Err: f.gone}, true
	case f.gone != nil:
		return Verdict{Outcome: Canceled, Blame: Client, Err: f.gone}, true
	case errors.Is(f.cause, ErrDeadline), timeout != nil && timeout.Client:
		return Verdict{Outcome: Canceled, Blame: Client, Err: f.cause}, true
	case errors.Is(f.cause, ErrTimeout):
		return Verdict{Outcome: Failure, Blame: Endpoint, Repeatable: true, Err: f.cause}, true
	case f.err != nil && f.late: // its server saw the same deadline
		return Verdict{Outcome: Canceled, Blame: Client, Err: f.err}, true
	case f.cause != nil: // somebody called it off
		return Verdict{Outcome: Canceled, Err: f.cause}, true
	case errors.Is(f.err, context.Canceled): // in a layer between
		return Verdict{Outcome: Canceled, Err: f.err}, true
	}
	return Verdict{}, false
}

// without judges an attempt without a response.
func (f *facts) without() Verdict {
	if v, ok := f.given(); ok {
		v.Unsent = isDial(f.err)
		if f.invalid && v.Blame == Endpoint { // servers of HTTP/2 may not even respond to it
			v.Blame, v.Repeatable = Request, false
		}
		return v
	}
	v := Verdict{Outcome: Failure, Err: f.err}
	own, isOwn := errors.AsType[*apierror.Error](f.err)
	switch {
	case f.err == nil: // given up before it was made
		return Verdict{Outcome: Canceled, Err: ErrClosed}
	case IsRefused(f.err):
		v.Repeatable, v.Unsent = true, true
	case f.invalid, isOwn && own.Status >= 400 && own.Status < 500:
		v.Blame = Request
	case errors.Is(f.err, ErrTimeout):
		v.Blame, v.Repeatable = Endpoint, true
	case errors.Is(f.err, ErrStale): // a new connection may do better
		v.Repeatable = true
	case isOwn && own.Status != http.StatusBadGateway && own.Status != http.StatusGatewayTimeout:
		v.Blame = Gateway // a layer of ours has no way to go on
	default:
		v.Blame, v.Repeatable, v.Unsent = Endpoint, !isOwn, isDial(f.err)
	}
	return v
}

// isDial reports that no connection came about: nothing was sent.
func isDial(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && (op.Op == "dial" || op.Op == "proxyconnect")
}

// refused judges a response whose status says that it is an error. One below 500 is
// nobody's failure.
func (f *facts) refused() Verdict {
	err := &StatusError{f.status}
	isFault := f.status >= http.StatusInternalServerError
	switch {
	case f.upload != nil: // it responds to what broke off
		return Verdict{Outcome: Canceled, Blame: Client, Err: f.upload}
	case f.status == http.StatusGatewayTimeout && f.hurried:
		return Verdict{Outcome: Canceled, Blame: Client, Err: err}
	}
	kind := f.kind()
	v := f.about(kind)
	v.Err = err
	switch {
	case isFault:
		v.Outcome = Failure
		if v.Blame == Nobody {
			v.Blame = Endpoint
		}
	case f.status == http.StatusTooManyRequests && v.Blame == Endpoint:
		v.Blame = Credential
	case v.Blame == Endpoint:
		v.Blame = Nobody
	}
	if f.status == http.StatusPaymentRequired && f.sender == operator {
		v.Withheld = true
	}
	if f.status == http.StatusNotFound && kind == llm.BadRequest && f.sender == operator { // that upstream has not got it
		v.Repeatable, v.Elsewhere = true, true
		v.Withheld = f.lacksAPI() // who asks for a model has not named a path
	}
	return v
}

// kind is what the error is about: by its body, and by its status.
func (f *facts) kind() llm.Kind {
	if f.said == nil {
		return llm.Classify(f.status, "", "", "")
	}
	typ, code := f.said.Type, f.said.Code
	if f.status >= http.StatusUnauthorized && f.status <= http.StatusForbidden { // which says more than this
		typ, code = strings.TrimPrefix(typ, vague), strings.TrimPrefix(code, vague)
	}
	return llm.Classify(f.status, typ, code, f.said.Message)
}

// vague is what some servers call any error.
const vague = "invalid_request_error"

// about is whose an error of this kind is, and who may do better.
func (f *facts) about(k llm.Kind) Verdict {
	switch k {
	case llm.Rate:
		return Verdict{Blame: Credential, Repeatable: true}
	case llm.Quota: // of the client's own credential nothing is left anywhere
		return Verdict{Blame: Credential, Repeatable: f.sender != client, Elsewhere: f.sender != client}
	case llm.Auth:
		if f.sender == operator {
			return Verdict{Blame: Credential, Repeatable: true, Elsewhere: true, Withheld: true}
		}
		return Verdict{Blame: Request}
	case llm.ContextLength, llm.BadRequest:
		return Verdict{Blame: Request}
	case llm.Overloaded, llm.ServerFault:
		return Verdict{Blame: Endpoint, Repeatable: true}
	case llm.UnknownKind:
	}
	return Verdict{Repeatable: true}
}

// failed judges a response with a good status that says that it failed.
func (f *facts) failed() Verdict {
	if f.upload != nil {
		return Verdict{Outcome: Canceled, Blame: Client, Err: f.upload}
	}
	v := f.about(f.said.Kind)
	v.Outcome, v.Err = Failure, f.said
	v.Repeatable, v.Elsewhere = v.Repeatable && !f.begun, v.Elsewhere && !f.begun
	return v
}

// nothing reports whether a response that had something to say did not.
func (f *facts) nothing() bool {
	return f.owed && f.empty || f.generates && (f.empty || f.broken || f.declared && !f.begun && !f.finished)
}

// with judges a response whose status is good.
func (f *facts) with() Verdict {
	if !f.cut && !f.nothing() && (f.eof || f.finished) {
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
	case f.eof && f.broken:
		v.Err = ErrNoJSON
	case f.eof:
		v.Err = ErrCut
		if !f.known && !f.begun { // JSON of an unknown kind
			v.Blame = Nobody
		}
	case f.closed:
		return Verdict{Outcome: Canceled, Err: ErrClosed}
	default: // it is under way
		return Verdict{}
	}
	return v
}

// called judges a call of gRPC by its status (google.rpc.Code).
func (f *facts) called() Verdict {
	err := &GRPCError{f.grpc}
	v := Verdict{Outcome: Failure, Err: err}
	if given, ok := f.given(); ok && given.Blame != Endpoint {
		return given
	}
	switch f.grpc {
	case 1: // CANCELLED
		return Verdict{Outcome: Canceled, Err: err}
	case 2, 13, 14: // UNKNOWN, INTERNAL, UNAVAILABLE
		v.Blame, v.Repeatable = Endpoint, !f.begun
	case 4: // DEADLINE_EXCEEDED
		if f.late {
			return Verdict{Outcome: Canceled, Blame: Client, Err: err}
		}
		v.Blame = Endpoint
	case 7, 16: // PERMISSION_DENIED, UNAUTHENTICATED
		if f.sender == operator {
			v.Blame, v.Repeatable, v.Elsewhere, v.Withheld = Credential, !f.begun, true, true
		}
	case 8: // RESOURCE_EXHAUSTED
		v.Blame, v.Repeatable = Credential, !f.begun
	}
	return v
}

// lacksAPI reports whether a 404 says that an API of models is not there, and not that
// the client asks for a model which does not exist.
func (f *facts) lacksAPI() bool {
	if f.said == nil || !f.asks {
		return false
	}
	return !strings.Contains(strings.ToLower(f.said.Code+" "+f.said.Type+" "+f.said.Message), "model")
}
