//go:build !linux

package redistest

import "syscall"

// dieWithParent is known on Linux only.
func dieWithParent() *syscall.SysProcAttr { return nil }
