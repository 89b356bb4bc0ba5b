//go:build unix

package cachetest

import (
	"os"
	"syscall"
)

// Pause makes the server hang, with all its connections open, until Resume.
func (s *Server) Pause() error { return s.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume ends a Pause.
func (s *Server) Resume() error { return s.cmd.Process.Signal(syscall.SIGCONT) }

// kill ends a server, which leads a group of processes, and the group. It may have ended by itself.
func kill(server *os.Process) { _ = syscall.Kill(-server.Pid, syscall.SIGKILL) }
