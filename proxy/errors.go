package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/llm"
)

// What can go wrong with an exchange, for errors.Is on the error that the
// ErrorHandler and OnEvent get.
var (
	// ErrUpstream: the upstream could not be reached, or broke the connection
	// or the protocol. Answered with 502.
	ErrUpstream = errors.New("proxy: upstream failed")
	// ErrTimeout: one of the Timeouts passed. Answered with 504.
	ErrTimeout = exchange.ErrTimeout
	// ErrClientClosed: the client left. It counts as neither success nor failure.
	ErrClientClosed = errors.New("proxy: client closed the request")
	// ErrLoop: the request has been here before. Answered with 508.
	ErrLoop = errors.New("proxy: request loop")
	// ErrUpgrade: an upgrade that can't be made. Answered with 501.
	ErrUpgrade = errors.New("proxy: upgrade not possible")
	// ErrBody: the client's body broke off or could not be read.
	ErrBody = errors.New("proxy: request body failed")
)

// errUnfinished stands for an exchange that a panic ended.
var errUnfinished = errors.New("proxy: a handler panicked")

func statusError(status int) error { return fmt.Errorf("%w: status %d", ErrUpstream, status) }

func refusal(status int, code, message string, err error) error {
	return &apierror.Error{Status: status, Code: code, Message: message, Err: err}
}

// upstreamError wraps what the transport said; the text stays inside.
func upstreamError(err error) error {
	if _, own := errors.AsType[*apierror.Error](err); own {
		return err
	}
	if errors.Is(err, ErrTimeout) { // a limit of a layer below
		return timeoutError(exchange.LimitFirstByte)
	}
	if slow, ok := errors.AsType[net.Error](err); ok && slow.Timeout() { // connecting, or a limit of the transport's own
		return refusal(http.StatusGatewayTimeout, "upstream_timeout", "The upstream server took too long (no connection or answer in time).",
			fmt.Errorf("%w: %w: %w", ErrTimeout, ErrUpstream, err))
	}
	code, message := "upstream_error", "The upstream server broke the connection or sent an invalid answer."
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

// isUnbegun reports whether a response failed that was kept back.
func isUnbegun(err error) bool {
	_, said := errors.AsType[*llm.Error](err)
	return said || errors.Is(err, exchange.ErrEmpty) || errors.Is(err, exchange.ErrNoJSON)
}

// credentialError is for the operator's credential that was refused. What the upstream
// said may name it, and stays inside.
func credentialError(err error) error {
	return refusal(http.StatusBadGateway, "upstream_credential", "The upstream server did not accept the gateway's credential.", fmt.Errorf("%w: %w", ErrUpstream, err))
}

// clientError says why the client's context ended.
func clientError(ctx context.Context) error {
	cause := context.Cause(ctx)
	if errors.Is(cause, context.DeadlineExceeded) || errors.Is(cause, ErrTimeout) {
		return refusal(http.StatusGatewayTimeout, "timeout", "The request took too long.", fmt.Errorf("%w: %w", ErrTimeout, cause))
	}
	if own, ok := errors.AsType[*apierror.Error](cause); ok { // a stage in front ended it, as a drain does
		return refusal(own.Status, own.Code, own.Message, fmt.Errorf("%w: %w", ErrClientClosed, cause))
	}
	return refusal(apierror.StatusClientClosed, "client_closed_request", "The client closed the request.", fmt.Errorf("%w: %w", ErrClientClosed, cause))
}

// isDial reports that no connection came about: nothing was sent.
func isDial(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}
