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

// judge decides the outcome of an attempt, the blame for it, and whether another attempt
// may do better. No other code decides that.
func judge(f *facts) Verdict {
	switch {
	case f.panic:
		return Verdict{Outcome: Failure, Blame: Gateway, Err: ErrPanic}
	case f.noted != nil:
		return *f.noted
	case f.status == 0:
		return f.noResponse()
	case f.status == http.StatusSwitchingProtocols:
		return Verdict{}
	case f.grpc > 0:
		return f.grpcCall()
	case f.status >= http.StatusBadRequest:
		return f.errorStatus()
	case f.said != nil:
		return f.errorBody()
	}
	return f.goodStatus()
}

// givenUp returns the verdict on an attempt that was given up, and reports whether it was.
func (f *facts) givenUp() (Verdict, bool) {
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
	case f.cause != nil: // it was canceled
		return Verdict{Outcome: Canceled, Err: f.cause}, true
	case errors.Is(f.err, context.Canceled): // in a layer between
		return Verdict{Outcome: Canceled, Err: f.err}, true
	}
	return Verdict{}, false
}

// noResponse judges an attempt without a response.
func (f *facts) noResponse() Verdict {
	if v, ok := f.givenUp(); ok {
		v.Unsent = isDial(f.err)
		if f.invalid && v.Blame == Endpoint { // HTTP/2 servers may not even respond to it
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
		v.Blame = Gateway // a layer of this module has no way to continue
	default:
		v.Blame, v.Repeatable, v.Unsent = Endpoint, !isOwn, isDial(f.err)
	}
	return v
}

// isDial reports whether no connection was made, so that nothing was sent.
func isDial(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && (op.Op == "dial" || op.Op == "proxyconnect")
}

// errorStatus judges a response with an error status. One below 500 is no failure of the endpoint.
func (f *facts) errorStatus() Verdict {
	err := &StatusError{f.status}
	isFault := f.status >= http.StatusInternalServerError
	switch {
	case f.upload != nil: // it responds to the broken body
		return Verdict{Outcome: Canceled, Blame: Client, Err: f.upload}
	case f.status == http.StatusGatewayTimeout && f.hurried:
		return Verdict{Outcome: Canceled, Blame: Client, Err: err}
	}
	kind := f.kind()
	v := f.ofKind(kind)
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
	if f.status == http.StatusNotFound && kind == llm.BadRequest && f.sender == operator { // that upstream lacks it
		v.Repeatable, v.Elsewhere = true, true
		v.Withheld = f.lacksAPI() // a client that names a model has not named a path
	}
	return v
}

// kind classifies the error by its body and status.
func (f *facts) kind() llm.Kind {
	if f.said == nil {
		return llm.Classify(f.status, "", "", "")
	}
	typ, code := f.said.Type, f.said.Code
	if f.status >= http.StatusUnauthorized && f.status <= http.StatusForbidden { // the status says more than this
		typ, code = strings.TrimPrefix(typ, vague), strings.TrimPrefix(code, vague)
	}
	return llm.Classify(f.status, typ, code, f.said.Message)
}

// vague is the type that some servers give to any error.
const vague = "invalid_request_error"

// ofKind returns blame and repeatability for an error of this kind.
func (f *facts) ofKind(k llm.Kind) Verdict {
	switch k {
	case llm.Rate:
		return Verdict{Blame: Credential, Repeatable: true}
	case llm.Quota: // the client's own credential has nothing left anywhere
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

// errorBody judges a response with a good status that contains an error.
func (f *facts) errorBody() Verdict {
	if f.upload != nil {
		return Verdict{Outcome: Canceled, Blame: Client, Err: f.upload}
	}
	v := f.ofKind(f.said.Kind)
	v.Outcome, v.Err = Failure, f.said
	v.Repeatable, v.Elsewhere = v.Repeatable && !f.begun, v.Elsewhere && !f.begun
	return v
}

// nothing reports whether a response that must have content has none.
func (f *facts) nothing() bool {
	return f.owed && f.empty || f.generates && (f.empty || f.broken || f.declared && !f.begun && !f.finished)
}

// goodStatus judges a response with a good status.
func (f *facts) goodStatus() Verdict {
	if !f.cut && !f.nothing() && (f.eof || f.finished) {
		return Verdict{}
	}
	if v, ok := f.givenUp(); ok {
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
	default: // still in progress
		return Verdict{}
	}
	return v
}

// grpcCall judges a gRPC call by its status (google.rpc.Code).
func (f *facts) grpcCall() Verdict {
	err := &GRPCError{f.grpc}
	v := Verdict{Outcome: Failure, Err: err}
	if given, ok := f.givenUp(); ok && given.Blame != Endpoint {
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

// lacksAPI reports whether a 404 means that the upstream lacks the API, and not that the requested
// model does not exist.
func (f *facts) lacksAPI() bool {
	if f.said == nil || !f.wantsText {
		return false
	}
	return !strings.Contains(strings.ToLower(f.said.Code+" "+f.said.Type+" "+f.said.Message), "model")
}
