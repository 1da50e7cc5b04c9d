package redistest

import "syscall"

// dieWithParent ends the server also when the test's process is killed.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
