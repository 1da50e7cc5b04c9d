package connect

import (
	"errors"
	"io"
	"maps"
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

// Transport sends requests by an http.Transport. The last request of a connection with a
// [Lifetime] has "Connection: close": HTTP/1 servers close it after their response, and HTTP/2
// sends no further ones over it.
//
// A server may close an idle connection just as it is reused: that is no failure. A request with a
// replayable body is sent once more on a new connection, whatever its method; any other returns
// [exchange.ErrStale].
type Transport struct {
	*http.Transport

	fresh *http.Transport // keeps no connection
}

// NewTransport returns a Transport that uses t, which must not change any more.
func NewTransport(t *http.Transport) *Transport {
	fresh := t.Clone()
	fresh.DisableKeepAlives = true
	return &Transport{t, fresh}
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	var u use
	out := req.WithContext(httptrace.WithClientTrace(req.Context(), u.trace()))
	if _, own := req.Header["Connection"]; !own && !req.Close && req.Header != nil {
		out.Header = maps.Clone(req.Header)
		u.header = out.Header
	}
	res, err := t.Transport.RoundTrip(out)
	if err == nil {
		res.Request = req
		return res, nil
	}
	if !u.isStale(err) || req.Context().Err() != nil {
		return nil, err
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

// use is the use of a connection by a request.
type use struct {
	header        http.Header // of the request; nil: must not change
	reused, begun atomic.Bool
}

func (u *use) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GotConn:              u.got,
		GotFirstResponseByte: func() { u.begun.Store(true) },
	}
}

// got is called on the request's goroutine, before its header is written.
func (u *use) got(info httptrace.GotConnInfo) {
	u.reused.Store(info.Reused)
	switch last := Of(info.Conn).Begin(); {
	case u.header == nil:
	case last:
		u.header["Connection"] = []string{"close"}
	default: // after a repeat by http.Transport
		delete(u.header, "Connection")
	}
}

// Windows has these instead of ECONNABORTED and ECONNRESET. Others do not use them.
const wsaConnAborted, wsaConnReset = syscall.Errno(10053), syscall.Errno(10054)

// closings are the errors of a closed connection.
//
//nolint:gochecknoglobals // a constant
var closings = [...]error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE, net.ErrClosed, wsaConnAborted, wsaConnReset}

// isStale reports whether a request failed because a reused connection ended before a byte of the
// response.
func (u *use) isStale(err error) bool {
	if !u.reused.Load() || u.begun.Load() {
		return false
	}
	if slices.ContainsFunc(closings[:], func(is error) bool { return errors.Is(err, is) }) {
		return true
	}
	text := err.Error() // these have no error values
	return strings.Contains(text, "server closed idle connection") || strings.Contains(text, "server sent GOAWAY and closed the connection")
}
