package reach

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"reflect"
	"runtime"
	"strings"
	"time"
)

// grace bounds the last flush before a cut. The client should receive what was relayed, but one
// that does not read must not block the handler.
const grace = time.Second

// endless is a length that no response reaches.
const endless = "9007199254740991" // the largest that JavaScript counts

// Cut breaks the response to r, begun or not, so that its client sees that it is
// incomplete, whatever other middlewares do. It sets a write deadline in the past: the server can
// not complete the response then. Where no deadline can be set, it does not return: it ends the
// goroutine, which makes net/http break the response as a panic would, but which no recovery
// handler can stop. Without a server it does nothing, for tests.
func (c Conn) Cut(r *http.Request) {
	reset := c.unframed(r)
	begun, ok := c.w.(interface{ Written() bool })
	flush := !ok || begun.Written()
	if reset != nil && flush && isHijacked(c.Server()) {
		return
	}
	err := c.SetWriteDeadline(time.Now().Add(grace))
	if flush {
		_ = c.Flush()
	}
	if errors.Is(err, http.ErrNotSupported) {
		c.exit()
		return
	}
	_ = c.SetWriteDeadline(time.Unix(1, 0))
	if reset != nil {
		reset()
	}
}

// exit breaks the response without a deadline.
func (c Conn) exit() {
	switch {
	case !c.isServed():
	case !onServer() && isTransparent(c.w):
		// The writer belongs to a middleware with a goroutine of its own, such as
		// http.TimeoutHandler, which sends the head when this one ends.
		c.w.Header().Set("Content-Length", endless)
	default:
		runtime.Goexit()
	}
}

// onServer reports whether this goroutine is one of net/http's: at its end the connection, or the
// stream of HTTP/2, is broken.
func onServer() bool {
	var callers [64]uintptr
	for skip := 1; ; skip += len(callers) {
		n := runtime.Callers(skip, callers[:])
		frames := runtime.CallersFrames(callers[:n])
		for more := n > 0; more; {
			var f runtime.Frame
			f, more = frames.Next()
			if f.Function == "net/http.(*conn).serve" || strings.HasSuffix(f.Function, "erverConn).runHandler") {
				return true
			}
		}
		if n < len(callers) {
			return false
		}
	}
}

// unframed returns a function that resets the connection if the end of the connection would end
// the response as well: HTTP/1.0 has no chunks. It returns nil otherwise.
func (c Conn) unframed(r *http.Request) func() {
	if r.ProtoMajor != 1 || r.ProtoMinor != 0 || c.w.Header().Get("Content-Length") != "" {
		return nil
	}
	if w, ok := find[interface{ Discards() bool }](c); ok && w.Discards() { // what follows may be whole
		return nil
	}
	return func() {
		if h, ok := c.Server().(http.Hijacker); ok {
			if conn, _, err := h.Hijack(); err == nil {
				reset(conn)
			}
		}
	}
}

// isHijacked reports whether the connection was taken over, by an earlier cut.
func isHijacked(w http.ResponseWriter) bool {
	_, err := w.Write(nil)
	return errors.Is(err, http.ErrHijacked)
}

// reset closes a connection with RST, and without the close_notify of TLS. Only TCP has that.
func reset(conn net.Conn) {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	for c, ok := conn, true; ok; c, ok = field[net.Conn](reflect.ValueOf(c)) { // through those of listeners
		if tcp, is := c.(*net.TCPConn); is {
			_ = tcp.SetLinger(0)
			break
		}
	}
	_ = conn.Close()
}
