package redistest

import "syscall"

// dieWithParent ends the server when the test process is killed, too.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
