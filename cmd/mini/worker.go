package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/slotsync/slotsync/cmd/mini/world"
)

// stopWithin is how long a worker may take to stop. One that finds its servers on loopback takes no second.
const stopWithin = 10 * time.Second

// build makes the worker's binary in dir.
func build(ctx context.Context, dir string, stderr io.Writer) (path string, err error) {
	path = filepath.Join(dir, "slotsync")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", path, "github.com/slotsync/slotsync/cmd/slotsync")
	cmd.Stderr = stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // at which it takes its own temporary files away
	cmd.WaitDelay = stopWithin
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("build the worker (mini needs Go and the source it was built from): %w", err)
	}
	return path, nil
}

// process runs the worker until it ends, and hands on what it logs, line by line. When ctx ends the worker is asked to
// stop; when patience ends, or the worker takes too long, it is killed. Should this process die without a chance to
// ask, the worker goes with it: at once where the system can do that, elsewhere with the next line that it logs.
func process(ctx, patience context.Context, path string, args, env []string, lines chan<- string) error {
	patience, giveUp := context.WithCancel(patience)
	defer giveUp()
	cmd := exec.CommandContext(patience, path, args...)
	cmd.Env = env
	log := &lineWriter{to: lines, until: patience.Done()}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = attributes()
	runtime.LockOSThread() // Linux ends the worker with the thread that has started it
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the worker: %w", err)
	}
	lines <- fmt.Sprintf("%s started as process %d", time.Now().Format(time.TimeOnly), cmd.Process.Pid)
	_ = os.RemoveAll(filepath.Dir(path)) // what runs needs no file any more, so that not even kill -9 leaves one; where it does, it is removed later
	defer context.AfterFunc(ctx, func() {
		if cmd.Process.Signal(syscall.SIGTERM) != nil { // there are systems without
			giveUp()
		}
		time.AfterFunc(stopWithin, giveUp)
	})()
	err := cmd.Wait()
	status, known := cmd.ProcessState.Sys().(syscall.WaitStatus)
	switch {
	case err == nil:
		return nil
	case patience.Err() != nil:
		return fmt.Errorf("the worker did not stop and was killed: %w", err)
	case ctx.Err() != nil && known && status.Signaled() && status.Signal() == syscall.SIGTERM:
		return nil // it was asked to stop before it had learned to listen
	}
	return fmt.Errorf("the worker: %w", err)
}

// lineWriter hands on what is written to it, line by line, until nobody is left to wait for.
type lineWriter struct {
	to    chan<- string
	until <-chan struct{}
	rest  []byte
}

func (l *lineWriter) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		line, rest, whole := bytes.Cut(l.rest, []byte("\n"))
		if !whole {
			return len(p), nil
		}
		select {
		case l.to <- string(line):
		case <-l.until:
			return 0, context.Canceled
		}
		l.rest = rest
	}
}

// tokenVariables are the variables that make the worker read the real API.
func tokenVariables() []string {
	return []string{"WIW_KEY", "WIW_TOKEN", "WIW_KEY_FILE", "WIW_TOKEN_FILE"}
}

// tokenIn returns the variable with which the environment asks for the real API, or "".
func tokenIn(environ []string) string {
	for _, name := range tokenVariables() {
		if slices.ContainsFunc(environ, func(kv string) bool { return strings.HasPrefix(kv, name+"=") && kv != name+"=" }) {
			return name
		}
	}
	return ""
}

// settings are the world's, for the worker. Of the environment it sees what has to do with the real API, if that is
// to be read, and nothing that could lead it elsewhere.
func settings(w *world.World, environ []string, realAPI bool) []string {
	own := w.Env()
	own["SYNC_SLEEP_PERIOD_SECONDS"] = passEvery
	own["LOG_FORMAT"] = "text" // whoever looks at a demo is a person
	own["SYNC_DELETES"] = "tombstone"
	if realAPI {
		own["SYNC_SLEEP_PERIOD_SECONDS"] = "10"
		for name := range own {
			if strings.HasPrefix(name, "WIW_") || strings.HasPrefix(name, "SYNC_DAYS_") {
				delete(own, name)
			}
		}
	}
	var env []string
	for _, kv := range environ {
		name, _, _ := strings.Cut(kv, "=")
		switch {
		case slices.Contains([]string{"PATH", "HOME", "TMPDIR", "TERM", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR"}, name), strings.HasPrefix(name, "LOG_"),
			realAPI && (strings.HasPrefix(name, "WIW_") || strings.HasPrefix(name, "SYNC_DAYS_") || strings.HasSuffix(strings.ToUpper(name), "_PROXY")):
			env = append(env, kv)
		}
	}
	for name, value := range own {
		env = append(env, name+"="+value)
	}
	return env
}
