package cachetest

import "syscall"

// attributes make a server die with the test, however that dies, and keep Ctrl-C at the terminal away from it.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
