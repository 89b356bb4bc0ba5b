//go:build unix && !linux

package main

import "syscall"

// attributes keep Ctrl-C at the terminal, which reaches a whole group, away from the worker: it is to hear of it once,
// from us.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
