package main

import "syscall"

// attributes keep Ctrl-C at the terminal, which reaches a whole group, away from the worker: it is to hear of it once,
// from us. And they make the worker die with us, however we die; by then its servers are gone too, and it has nothing
// to put in order.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
