package h1

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strconv"
	"strings"
	"time"

	bodies "github.com/ginfer/ginfer/internal/body"
	"github.com/ginfer/ginfer/internal/connect"
)

var (
	// errStale is returned when a reused connection ended before a byte of the response.
	errStale = errors.New("h1: the server closed an idle connection")
	// ErrHeader is returned when the head of a response is too long.
	ErrHeader = errors.New("h1: response head too long")
	// ErrProtocol is returned for a response that HTTP/1.1 does not allow.
	ErrProtocol = errors.New("h1: invalid response")
)

// past is a deadline that ends every wait.
var past = time.Unix(1, 0) //nolint:gochecknoglobals // a constant

// maxInformational is the number of 1xx responses that may precede the final one.
const maxInformational = 100

// conn is one connection, used by one exchange at a time.
type conn struct {
	net.Conn

	look      look // for silent
	life      *connect.Conn
	host      *host
	in        *bufio.Reader
	left      int64 // bytes that may still be read
	out       []byte
	used      bool
	broken    bool     // not all of a request was written
	sending   *sending // a long body; nil: there is none
	idleSince time.Time
	idleLimit time.Duration // 0: none
}

func newConn(nc net.Conn, h *host) *conn {
	c := &conn{Conn: nc, host: h, life: connect.Of(nc), idleLimit: h.cfg.IdleTimeout}
	c.in = bufio.NewReader(c)
	c.look.at(nc)
	return c
}

// Read reads from the connection, up to the bound.
func (c *conn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, ErrHeader
	}
	if int64(len(p)) > c.left {
		p = p[:c.left]
	}
	n, err := c.Conn.Read(p)
	c.left -= int64(n)
	return n, err
}

// isUsable reports whether an idle connection can be used: it is open and silent, and within its
// bounds of time.
func (c *conn) isUsable() bool {
	return (c.idleLimit <= 0 || time.Since(c.idleSince) < c.idleLimit) && !c.life.IsOld() && c.silent()
}

// learn shortens the idle timeout to what the server announces, as many do: Keep-Alive: timeout=N,
// in seconds.
func (c *conn) learn(h http.Header) {
	for param := range strings.SplitSeq(h.Get("Keep-Alive"), ",") {
		name, value, _ := strings.Cut(param, "=")
		n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 31)
		if err != nil || !strings.EqualFold(strings.TrimSpace(name), "timeout") {
			continue
		}
		limit := max(time.Duration(n)*time.Second*4/5, time.Millisecond) // the response was on its way
		if c.idleLimit <= 0 || limit < c.idleLimit {
			c.idleLimit = limit
		}
	}
}

// exchange sends a request and reads the head of its response. The connection is reused or
// closed at the end of the response's body, or closed after an error.
func (c *conn) exchange(req *http.Request, body [][]byte) (*http.Response, error) {
	last := c.life.Begin() //nolint:contextcheck // a look-up of the name outlives the request
	stop := context.AfterFunc(req.Context(), func() { _ = c.SetDeadline(past) })
	res, err := c.roundTrip(req, body)
	if err != nil {
		stop()
		c.close()
		if req.Context().Err() != nil {
			err = context.Cause(req.Context())
		}
		return nil, err
	}
	c.used = true
	if res.Header["Keep-Alive"] != nil {
		c.learn(res.Header)
	}
	b := &response{ReadCloser: res.Body, conn: c, ctx: req.Context(), stop: stop, keep: !res.Close && !last}
	if res.Body == http.NoBody || res.ContentLength == 0 || req.Method == http.MethodHead {
		b.end(true)
		return res, nil
	}
	res.Body = b
	return res, nil
}

func (c *conn) roundTrip(req *http.Request, body [][]byte) (*http.Response, error) {
	length, err := c.prepare(req, body)
	if err != nil {
		return nil, err
	}
	c.sending = nil
	var wrote error
	if length <= alone {
		wrote = c.send(body, length)
	} else {
		release, ok := bodies.Borrow(req)
		if !ok {
			return nil, http.ErrBodyReadAfterClose
		}
		c.sendBeside(body, length, release)
	}
	c.left = c.host.cfg.MaxHeader
	// Also after a failed write: the server may have responded before it closed.
	if _, err := c.in.Peek(1); err != nil {
		err = unexpected(err)
		if c.used {
			err = fmt.Errorf("%w: %w", errStale, err)
		}
		return nil, err
	}
	c.broken = wrote != nil
	for range maxInformational {
		res, err := http.ReadResponse(c.in, req)
		switch {
		case err != nil && c.left <= 0:
			return nil, ErrHeader
		case err != nil:
			return nil, unexpected(err)
		case res.ProtoMajor != 1 || res.StatusCode < 100 || res.StatusCode == http.StatusSwitchingProtocols:
			return nil, fmt.Errorf("%w: %s %d", ErrProtocol, res.Proto, res.StatusCode)
		case res.StatusCode >= 200:
			c.left = math.MaxInt64
			return res, nil
		}
		if err := pass1xx(req, res); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%w: more than %d informational ones", ErrProtocol, maxInformational)
}

// pass1xx passes an informational response to the request's trace.
func pass1xx(req *http.Request, res *http.Response) error {
	trace := httptrace.ContextClientTrace(req.Context())
	if trace == nil || trace.Got1xxResponse == nil {
		return nil
	}
	return trace.Got1xxResponse(res.StatusCode, textproto.MIMEHeader(res.Header))
}

// unexpected returns err, with io.ErrUnexpectedEOF for io.EOF.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
