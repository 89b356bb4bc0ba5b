//go:build !linux

package cachetest

import "syscall"

func attributes() *syscall.SysProcAttr { return nil }
