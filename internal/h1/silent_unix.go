//go:build unix

package h1

import (
	"net"
	"syscall"
)

// look is how an unused connection is looked at. It is made once: that is done for each
// request.
type look struct {
	raw   syscall.RawConn // nil: it can't be
	read  func(fd uintptr) bool
	quiet bool // what read found
}

func (l *look) at(nc net.Conn) {
	if sc, ok := nc.(syscall.Conn); ok {
		l.raw, _ = sc.SyscallConn() // nil if it is closed already: the next write says so
	}
	l.read = func(fd uintptr) bool {
		var one [1]byte
		_, err := syscall.Read(int(fd), one[:])
		l.quiet = err == syscall.EAGAIN
		return true
	}
}

// silent reports whether an unused connection is still open and has nothing to
// say. Whatever it says was not asked for, and is no response.
func (c *conn) silent() bool {
	l := &c.look
	if l.raw == nil {
		return true
	}
	l.quiet = false
	return l.raw.Read(l.read) == nil && l.quiet
}
