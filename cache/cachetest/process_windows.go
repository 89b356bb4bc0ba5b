package cachetest

import (
	"os"
	"syscall"
)

func attributes() *syscall.SysProcAttr { return nil }

func kill(server *os.Process) { _ = server.Kill() }
