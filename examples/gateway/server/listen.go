package server

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/ginfer/ginfer/examples/gateway/config"
)

// listen listens on an address, or on a Unix socket with permissions. A socket that an earlier
// process left behind is replaced; ours is removed when its listener is closed.
func listen(address, mode string) (net.Listener, error) {
	socket := config.Socket(address)
	if socket == "" {
		return net.Listen("tcp", address) //nolint:noctx // at start there is nothing to cancel it
	}
	if err := removeStale(socket); err != nil {
		return nil, err
	}
	ln, err := net.Listen("unix", socket) //nolint:noctx // at start there is nothing to cancel it
	if err != nil || socket[0] == '@' {
		return ln, err
	}
	perm, err := config.Mode(mode)
	if err == nil {
		err = os.Chmod(socket, perm)
	}
	if err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	return ln, nil
}

// removeStale removes a socket that no process listens on.
func removeStale(socket string) error {
	if info, err := os.Stat(socket); err != nil || info.Mode()&os.ModeSocket == 0 {
		return nil //nolint:nilerr // net.Listen explains what is in its way
	}
	c, err := (&net.Dialer{Timeout: time.Second}).Dial("unix", socket)
	if err == nil {
		_ = c.Close()
		return fmt.Errorf("%s: another process listens there", socket)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return nil
	}
	return os.Remove(socket)
}
