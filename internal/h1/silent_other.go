//go:build !unix

package h1

import "net"

// look is empty on this platform.
type look struct{}

func (*look) at(net.Conn) {}

// silent always reports true: this platform can't look without waiting.
func (c *conn) silent() bool { return true }
