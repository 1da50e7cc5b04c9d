package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"

	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/llm"
)

// Errors of an exchange. Use errors.Is to match them with the error that Config.ErrorHandler or
// Event.Err gets.
var (
	// ErrUpstream is returned when the upstream could not be reached, or broke the connection
	// or the protocol. The response is 502.
	ErrUpstream = errors.New("proxy: upstream failed")
	// ErrTimeout is returned when one of the Timeouts has passed. The response is 504.
	ErrTimeout = exchange.ErrTimeout
	// ErrClientClosed is returned on a client disconnect. It counts as neither success nor
	// failure.
	ErrClientClosed = errors.New("proxy: client closed the request")
	// ErrLoop is returned when the request has passed this gateway before. The response is 508.
	ErrLoop = errors.New("proxy: request loop")
	// ErrUpgrade is returned for an upgrade to WebSocket that is not possible: with a body, or over
	// HTTP/2. The response is 501.
	ErrUpgrade = errors.New("proxy: upgrade not possible")
	// ErrBody is returned when the client's body broke off or could not be read.
	ErrBody = errors.New("proxy: request body failed")
)

// errUnfinished is the error of an exchange that a panic ended.
var errUnfinished = errors.New("proxy: a handler panicked")

func statusError(status int) error { return fmt.Errorf("%w: status %d", ErrUpstream, status) }

func refusal(status int, code, message string, err error) error {
	return &apierror.Error{Status: status, Code: code, Message: message, Err: err}
}

// upstreamError wraps the transport's error. Its text is not sent to the client.
func upstreamError(err error) error {
	if _, own := errors.AsType[*apierror.Error](err); own {
		return err
	}
	if errors.Is(err, ErrTimeout) { // a limit of a layer below
		return timeoutError(exchange.LimitFirstByte)
	}
	if slow, ok := errors.AsType[net.Error](err); ok && slow.Timeout() { // of the connection set-up, or of the transport itself
		return refusal(http.StatusGatewayTimeout, "upstream_timeout", "The upstream server took too long (no connection or response in time).",
			fmt.Errorf("%w: %w: %w", ErrTimeout, ErrUpstream, err))
	}
	code, message := "upstream_error", "The upstream server broke the connection or sent an invalid response."
	if isUnbegun(err) {
		message = "The upstream server failed before its response began."
	}
	if isDial(err) {
		code, message = "upstream_unreachable", "The upstream server could not be reached."
	}
	return refusal(http.StatusBadGateway, code, message, fmt.Errorf("%w: %w", ErrUpstream, err))
}

func timeoutError(l exchange.Limit) error {
	return refusal(http.StatusGatewayTimeout, "upstream_timeout", "The upstream server took too long ("+l.String()+").",
		fmt.Errorf("%w: %s", ErrTimeout, l))
}

// isUnbegun reports whether a response failed while it was buffered.
func isUnbegun(err error) bool {
	_, said := errors.AsType[*llm.Error](err)
	return said || errors.Is(err, exchange.ErrEmpty) || errors.Is(err, exchange.ErrNoJSON)
}

// credentialError is the error for the operator's credential that was refused. The upstream's
// text may contain it, and is not sent to the client.
func credentialError(err error) error {
	return refusal(http.StatusBadGateway, "upstream_credential", "The upstream server did not accept the gateway's credential.", fmt.Errorf("%w: %w", ErrUpstream, err))
}

// clientError returns the error for the end of the client's context.
func clientError(ctx context.Context) error {
	cause := context.Cause(ctx)
	if errors.Is(cause, context.DeadlineExceeded) || errors.Is(cause, ErrTimeout) {
		return refusal(http.StatusGatewayTimeout, "timeout", "The request took too long.", fmt.Errorf("%w: %w", ErrTimeout, cause))
	}
	if own, ok := errors.AsType[*apierror.Error](cause); ok { // an earlier stage ended it, as on a drain
		return refusal(own.Status, own.Code, own.Message, fmt.Errorf("%w: %w", ErrClientClosed, cause))
	}
	return refusal(apierror.StatusClientClosed, "client_closed_request", "The client closed the request.", fmt.Errorf("%w: %w", ErrClientClosed, cause))
}

// isDial reports whether no connection was made, so that nothing was sent.
func isDial(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// hides reports whether the client must not get a response, because it is empty or describes the
// operator's credential.
func hides(v exchange.Verdict) bool {
	switch v.Err.(type) { //nolint:errorlint // the verdict's own
	case *exchange.StatusError, *exchange.GRPCError, *llm.Error:
		return v.Withheld
	}
	return v.Outcome == exchange.Canceled || v.Bad() && v.Repeatable
}

// explain converts a verdict into the error that the client gets.
func (x *call) explain(v exchange.Verdict, err error) error {
	limit, slow := errors.AsType[*exchange.TimeoutError](v.Err)
	switch {
	case errors.Is(v.Err, ErrBeaten):
		return ErrBeaten
	case v.Blame == exchange.Client && errors.Is(v.Err, ErrBody):
		return v.Err // the client may still be there
	case v.Blame == exchange.Client && x.upload != nil && errors.Is(x.upload.failed(), os.ErrDeadlineExceeded):
		return x.upload.failed()
	case x.clientGone():
		return clientError(x.c.Request.Context())
	case errors.Is(v.Err, ErrDeadline):
		return deadlineError()
	case slow:
		return timeoutError(limit.Limit)
	case v.Withheld:
		return credentialError(v.Err)
	}
	return upstreamError(err)
}
