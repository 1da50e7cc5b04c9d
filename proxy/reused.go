package proxy

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/fault"
)

// reusing sends requests by an http.Transport. A server may close an idle connection just as it is
// reused: that is no failure. A request with a replayable body is sent once more on a new
// connection, whatever its method; any other returns [exchange.ErrStale].
type reusing struct {
	*http.Transport

	fresh *http.Transport // keeps no connection
}

func newReusing(t *http.Transport) reusing {
	fresh := t.Clone()
	fresh.DisableKeepAlives = true
	return reusing{t, fresh}
}

// RoundTrip implements http.RoundTripper.
func (t reusing) RoundTrip(req *http.Request) (*http.Response, error) {
	var seen connection
	res, err := t.Transport.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), seen.trace())))
	if !seen.isStale(err) || req.Context().Err() != nil {
		return res, err
	}
	again := req.WithContext(req.Context())
	if req.Body != nil && req.Body != http.NoBody {
		if req.GetBody == nil {
			return nil, fault.Join(exchange.ErrStale, err)
		}
		if again.Body, err = req.GetBody(); err != nil {
			return nil, err
		}
	}
	return t.fresh.RoundTrip(again)
}

// connection is the state of the connection that a request used.
type connection struct{ reused, begun atomic.Bool }

func (c *connection) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GotConn:              func(info httptrace.GotConnInfo) { c.reused.Store(info.Reused) },
		GotFirstResponseByte: func() { c.begun.Store(true) },
	}
}

// closings are the errors of a closed connection.
//
//nolint:gochecknoglobals // a constant
var closings = [...]error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE, net.ErrClosed}

// isStale reports whether a request failed because a reused connection ended before a byte of the
// response.
func (c *connection) isStale(err error) bool {
	if err == nil || !c.reused.Load() || c.begun.Load() {
		return false
	}
	if slices.ContainsFunc(closings[:], func(is error) bool { return errors.Is(err, is) }) {
		return true
	}
	text := err.Error() // these have no error values
	return strings.Contains(text, "server closed idle connection") || strings.Contains(text, "server sent GOAWAY and closed the connection")
}
