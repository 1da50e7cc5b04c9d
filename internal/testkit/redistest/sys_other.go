//go:build !linux

package redistest

import "syscall"

// dieWithParent is supported on Linux only.
func dieWithParent() *syscall.SysProcAttr { return nil }
