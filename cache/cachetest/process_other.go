//go:build unix && !linux

package cachetest

import "syscall"

// attributes give a server a group of processes of its own, and keep Ctrl-C at the terminal away from it.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
