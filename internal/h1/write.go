package h1

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"
)

// errRequest is returned for a request that can't be written unambiguously.
var errRequest = errors.New("h1: invalid request")

// copyLimit is the length up to which a body is copied behind its head, for a single write;
// longer ones are written from where they are.
const copyLimit = 8 << 10

// alone is the length up to which a body is sent before the response is read. It fits a connection's
// buffers: a server that responds without reading the body can't block the write.
const alone = 32 << 10

// prepare renders the request's head. Nothing of an invalid request is sent.
func (c *conn) prepare(req *http.Request, body [][]byte) (length int, err error) {
	for _, part := range body {
		length += len(part)
	}
	head, err := appendHead(c.out[:0], req, length)
	if err == nil {
		c.out = head
	}
	return length, err
}

// send sends the head and the body.
func (c *conn) send(body [][]byte, length int) error {
	if length <= copyLimit {
		for _, part := range body {
			c.out = append(c.out, part...)
		}
		_, err := c.Write(c.out)
		return err
	}
	parts := append(net.Buffers{c.out}, body...)
	_, err := parts.WriteTo(c.Conn)
	return err
}

// sending is a long body on its way to the server, which may respond before it has read all.
type sending struct {
	done chan struct{}
	err  error
}

// sendBeside is send on a goroutine of its own, which then calls release.
func (c *conn) sendBeside(body [][]byte, length int, release func()) {
	s := &sending{done: make(chan struct{})}
	c.sending = s
	go func() {
		defer close(s.done)
		defer release()
		s.err = c.send(body, length)
	}()
}

// lastPart bounds how long the end of a whole response waits for the end of its request.
const lastPart = 20 * time.Millisecond

// sent reports whether all of the request was sent. A server can have read it, and have responded, before the
// goroutine that sends it runs again.
func (c *conn) sent() bool {
	if c.sending == nil {
		return !c.broken
	}
	select {
	case <-c.sending.done:
	default:
		_ = c.SetWriteDeadline(time.Now().Add(lastPart))
		<-c.sending.done
		_ = c.SetWriteDeadline(time.Time{})
	}
	return c.sending.err == nil
}

// close closes the connection. No part of a request's body is used after it.
func (c *conn) close() {
	_ = c.Close()
	if c.sending != nil {
		<-c.sending.done
	}
}

func appendHead(b []byte, req *http.Request, length int) ([]byte, error) {
	method, target, host := req.Method, req.URL.RequestURI(), req.Host
	if method == "" {
		method = http.MethodGet
	}
	if host == "" {
		host = req.URL.Host
	}
	if !isToken(method) || !isVisible(target) || !isHost(host) {
		return nil, fmt.Errorf("%w: %q %q to host %q", errRequest, method, target, host)
	}
	b = append(append(append(append(b, method...), ' '), target...), " HTTP/1.1\r\n"...)
	b = appendField(b, "Host", host)
	if _, ok := req.Header["User-Agent"]; !ok {
		b = appendField(b, "User-Agent", "Go-http-client/1.1")
	}
	b, err := appendHeader(b, req.Header)
	if err != nil {
		return nil, err
	}
	if length > 0 || method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch {
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, int64(length), 10)
		b = append(b, "\r\n"...)
	}
	return append(b, "\r\n"...), nil
}

// appendHeader writes a header, without the fields that the request itself determines.
func appendHeader(b []byte, h http.Header) ([]byte, error) {
	for name, values := range h {
		if name == "Host" || name == "Content-Length" || name == "Trailer" {
			continue
		}
		for _, v := range values {
			if !isToken(name) || !isValue(v) {
				return nil, fmt.Errorf("%w: header %q", errRequest, name)
			}
			b = appendField(b, name, v)
		}
	}
	return b, nil
}

func appendField(b []byte, name, value string) []byte {
	b = append(append(b, name...), ": "...)
	return append(append(b, value...), "\r\n"...)
}

// isToken reports whether s is a token (RFC 9110 §5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		if !tokenBytes[s[i]] {
			return false
		}
	}
	return s != ""
}

// tokenBytes are the bytes of a token.
var tokenBytes = func() (t [256]bool) { //nolint:gochecknoglobals // a constant
	for c := '0'; c <= '9'; c++ {
		t[c] = true
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-'a'+'A'] = true, true
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		t[c] = true
	}
	return t
}()

// isValue reports whether s is a field value (RFC 9110 §5.5) without control characters but tabs.
func isValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// isVisible reports whether s has no space and no control character, as a request target.
func isVisible(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c == 0x7f {
			return false
		}
	}
	return s != ""
}

// isHost reports whether s has only the bytes of RFC 3986 §3.2.2 and a port.
func isHost(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '.', c == '-', c == '_', c == ':', c == '[', c == ']', c == '~', c == '%', c == '!', c == '$', c == '&', c == '\'', c == '(', c == ')', c == '*', c == '+', c == ',', c == ';', c == '=':
		default:
			return false
		}
	}
	return s != ""
}
