//go:build unix

package embedded

import (
	"os"
	"syscall"

	"github.com/ginfer/ginfer/internal/fault"
)

// lock locks a file for this process. The system unlocks it when the process ends.
func lock(name string) (unlock func(), err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // the caller's directory
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, fault.Join(ErrInUse, err, f.Close())
	}
	return func() { _ = f.Close() }, nil
}
