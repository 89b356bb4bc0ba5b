package main

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/slotsync/slotsync/cmd/mini/world"
)

// process is the program as a process of its own: what it prints is all that it prints, that of libraries included.
type process struct {
	*logged              // what it writes to stderr
	stdout  bytes.Buffer // to be read once it has ended
	cmd     *exec.Cmd
}

// launch starts the program with these variables and no other. It is killed when the test ends, if it still runs.
func launch(t *testing.T, settings env, args ...string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{logged: newLogged(), cmd: exec.Command(self, args...)}
	p.cmd.Env = []string{beTheProgram + "=1", "PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
	for name, value := range settings {
		p.cmd.Env = append(p.cmd.Env, name+"="+value)
	}
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, p.logged
	p.ended = make(chan struct{})
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // how it ended is in ProcessState
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // most have ended
		<-p.ended
	})
	return p
}

// signal sends a signal, to a process that may just have ended.
func (p *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
}

// exit waits for the end for so long, and returns the exit code; -1: a signal ended it.
func (p *process) exit(t *testing.T, within time.Duration) int {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(within):
		p.signal(t, syscall.SIGQUIT) // prints what it is at
		<-p.ended
		t.Fatalf("it has not ended within %s:\n%s", within, p)
	}
	return p.cmd.ProcessState.ExitCode()
}

// all returns what it printed, all of it, once it has ended.
func (p *process) all() string { return p.stdout.String() + p.String() }

// together runs subtests at the same time, several in number: they wait more than they work.
func together[C any](t *testing.T, cases []C, claim func(C) string, test func(*testing.T, C)) {
	t.Helper()
	if len(cases) == 0 {
		t.Fatal("no cases")
	}
	var some errgroup.Group
	some.SetLimit(8)
	for _, c := range cases {
		some.Go(func() error {
			t.Run(claim(c), func(t *testing.T) { test(t, c) })
			return nil
		})
	}
	_ = some.Wait() // what went wrong is in t
}

// launchIn starts the program in the world.
func launchIn(t *testing.T, w *world.World, settings env, args ...string) *process {
	t.Helper()
	return launch(t, in(w, settings), args...)
}

// served returns what the program answers over HTTP, headers and all.
func served(t *testing.T, addr string, paths ...string) string {
	t.Helper()
	var all strings.Builder
	for _, path := range paths {
		res, err := http.Get("http://" + addr + path)
		if err != nil {
			t.Fatal(err)
		}
		if err := res.Header.Write(&all); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(&all, res.Body); err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
	return all.String()
}
