//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// role makes the test's binary another program: the demo, or, for want of a killable `go run`, one that starts it.
const role = "SLOTSYNC_MINI_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "demo":
		main()
	case "go run":
		cmd := exec.Command(os.Args[0], os.Args[1:]...)
		cmd.Env = append(os.Environ(), role+"=demo")
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		_ = cmd.Run()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// demo is the demo as a process of its own.
type demo struct {
	cmd    *exec.Cmd
	out    *bufio.Reader
	pipe   *os.File // that out reads
	temp   string   // where it keeps its files
	worker int      // process id
}

// patient is how long a test waits for what takes seconds, if nothing has to be compiled.
const patient = 2 * time.Minute

// play starts the demo, and waits until its worker has done a pass.
func play(t *testing.T, program, as string) *demo {
	t.Helper()
	d := &demo{temp: t.TempDir()}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := read.SetReadDeadline(time.Now().Add(patient)); err != nil {
		t.Fatal(err)
	}
	d.pipe, d.out = read, bufio.NewReader(read)
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	t.Cleanup(cancel)
	d.cmd = exec.CommandContext(ctx, program)
	d.cmd.Env = append(without(), role+"="+as, "TMPDIR="+d.temp)
	d.cmd.Stdout, d.cmd.Stderr = write, os.Stderr
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	write.Close()
	t.Cleanup(func() {
		_ = d.cmd.Process.Kill()
		if d.worker > 0 {
			_ = syscall.Kill(d.worker, syscall.SIGKILL)
		}
		read.Close()
	})
	_, pid, _ := strings.Cut(d.until(t, "started as process"), "as process ")
	if d.worker, err = strconv.Atoi(strings.TrimSpace(pid)); err != nil {
		t.Fatal(err)
	}
	d.until(t, "in step:")
	return d
}

// goBuilt returns a copy of the test's binary at a path like those that `go run` uses. It is made before anything is
// started: a process that is forked meanwhile would hold the file open, and it could not be run.
func goBuilt(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	binary, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "go-build1")
	if err := os.WriteFile(path, binary, 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// until reads lines until one has the text in it, which it returns.
func (d *demo) until(t *testing.T, text string) string {
	t.Helper()
	for {
		line, err := d.out.ReadString('\n')
		if err != nil {
			t.Fatalf("waiting for %q: %v", text, err)
		}
		if strings.Contains(line, text) {
			return line
		}
	}
}

// hang stops the worker in its tracks.
func (d *demo) hang(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(d.worker, syscall.SIGSTOP); err != nil {
		t.Error(err)
	}
}

// signal sends a signal to the demo.
func (d *demo) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := d.cmd.Process.Signal(s); err != nil {
		t.Error(err)
	}
}

// running tells whether the process can still do anything.
func running(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)) // where there is none, somebody reaps the dead
	return err != nil || !bytes.Contains(stat, []byte(") Z "))
}

func TestNothingIsLeftBehind(t *testing.T) {
	program := goBuilt(t)
	// Under nohup the demo would rightly pass over the end of a terminal. What is handled here begins anew in a child.
	handled := make(chan os.Signal, 1)
	signal.Notify(handled, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(handled) })
	for _, c := range []struct {
		claim string
		as    string
		end   func(t *testing.T, d *demo)
		exit  int
		says  string
	}{
		{"after Ctrl-C", "demo", func(t *testing.T, d *demo) { d.signal(t, syscall.SIGINT) }, 0, "Worker and servers are gone."},
		{"after SIGTERM", "demo", func(t *testing.T, d *demo) { d.signal(t, syscall.SIGTERM) }, 0, "Worker and servers are gone."},
		{"when the terminal is closed", "demo", func(t *testing.T, d *demo) { d.signal(t, syscall.SIGHUP) }, 0, "Worker and servers are gone."},
		{"when nobody reads any more", "demo", func(_ *testing.T, d *demo) { d.pipe.Close() }, 0, ""},
		{"after kill -9", "demo", func(t *testing.T, d *demo) {
			if runtime.GOOS == "linux" { // elsewhere it is a line of the worker's log that ends it
				d.hang(t)
			}
			d.signal(t, syscall.SIGKILL)
		}, -1, ""},
		{"after kill -9 of go run", "go run", func(t *testing.T, d *demo) { d.signal(t, syscall.SIGKILL) }, -1, "Worker and servers are gone."},
		{"after Ctrl-C twice while the worker hangs", "demo", func(t *testing.T, d *demo) {
			d.hang(t)
			begun := time.Now()
			d.signal(t, syscall.SIGINT)
			d.until(t, "Stopping")
			d.signal(t, syscall.SIGINT)
			d.until(t, "In all")
			if took := time.Since(begun); took >= stopWithin {
				t.Errorf("who asks twice waits as long as who asks once: %s", took)
			}
		}, 1, ""},
	} {
		t.Run(c.claim, func(t *testing.T) {
			t.Parallel()
			d := play(t, program, c.as)
			c.end(t, d)
			rest, _ := io.ReadAll(d.out) // until nobody can write any more, or at once if we have closed it
			_ = d.cmd.Wait()
			if got := d.cmd.ProcessState.ExitCode(); got != c.exit {
				t.Errorf("got exit status %d, want %d", got, c.exit)
			}
			if !strings.Contains(string(rest), c.says) {
				t.Errorf("%q is not in what it says at its end:\n%s", c.says, rest)
			}
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			late := time.After(20 * time.Second)
			for running(d.worker) {
				select {
				case <-tick.C:
				case <-late:
					t.Fatalf("the worker, process %d, outlives the demo", d.worker)
				}
			}
			left, err := filepath.Glob(filepath.Join(d.temp, "slotsync-mini-*"))
			if err != nil || len(left) > 0 {
				t.Errorf("it leaves %v, %v", left, err)
			}
		})
	}
}
