//go:build unix

package h1

import (
	"net"
	"syscall"
)

// look is the prepared system call that examines an idle connection. It is made once, since
// each request needs it.
type look struct {
	raw   syscall.RawConn // nil: not supported
	read  func(fd uintptr) bool
	quiet bool // the result of read
}

func (l *look) at(nc net.Conn) {
	if sc, ok := nc.(syscall.Conn); ok {
		l.raw, _ = sc.SyscallConn() // nil if it is closed already: the next write fails
	}
	l.read = func(fd uintptr) bool {
		var one [1]byte
		_, err := syscall.Read(int(fd), one[:])
		l.quiet = err == syscall.EAGAIN
		return true
	}
}

// silent reports whether an idle connection is open and has no bytes to read. Bytes that
// arrive before a request are no response.
func (c *conn) silent() bool {
	l := &c.look
	if l.raw == nil {
		return true
	}
	l.quiet = false
	return l.raw.Read(l.read) == nil && l.quiet
}
