//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// crew is the workers that run, each in a slot.
type crew struct {
	binary string
	dir    string // of their logs
	env    func(slot int) []string
	least  func() int    // the fewest shifts that a whole answer can have had
	fail   func(error)   // is told of a broken promise
	ended  func(*report) // is told of each pass that has ended

	mu      sync.Mutex // guards what follows
	slots   [slots]*worker
	started int
	troubles
}

// troubles is what the workers said of themselves.
type troubles struct {
	takeovers int   // how often a worker took the lease
	troubled  int   // passes that failed, or left something pending
	passes    int   // all that ended
	peak      int64 // largest resident memory of a worker, kB
}

// worker is a process.
type worker struct {
	slot  int
	pid   int
	log   *os.File
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has
	err   error         // how; valid once ended is closed

	mu     sync.Mutex // guards doomed
	doomed bool       // its end was asked for
}

// build makes the worker's binary from the source in the current folder.
func build(ctx context.Context, dir string) (string, error) {
	path := filepath.Join(dir, "slotsync")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", path, "./cmd/slotsync").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the worker, for which chaos has to be called at the top of the source: %w\n%s", err, out)
	}
	return path, nil
}

// start starts a worker in a slot that is free.
func (c *crew) start(slot int) (*worker, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w := c.slots[slot]; w != nil && w.alive() {
		return nil, fmt.Errorf("start worker: slot %d is taken by process %d", slot, w.pid)
	}
	c.started++
	log, err := os.Create(filepath.Join(c.dir, fmt.Sprintf("worker-%04d-slot-%d.log", c.started, slot)))
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(c.binary)
	cmd.Env = c.env(slot)
	w := &worker{slot: slot, log: log, cmd: cmd, ended: make(chan struct{})}
	lines := &listener{hear: func(line []byte) { c.hear(w, line) }, log: log}
	cmd.Stdout, cmd.Stderr = lines, lines
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start worker: %w", err), log.Close())
	}
	w.pid = cmd.Process.Pid
	c.slots[slot] = w
	go func() {
		w.err = cmd.Wait()
		_ = log.Close()
		if !w.isDoomed() {
			c.fail(violated("a worker ended by itself: process %d: %v; its last words: %s", w.pid, w.err, lines.last()))
		}
		close(w.ended)
	}()
	return w, nil
}

// close kills all.
func (c *crew) close() {
	c.mu.Lock()
	all := c.slots
	c.mu.Unlock()
	for _, w := range all {
		if w != nil {
			w.kill()
		}
	}
}

// alive returns the workers that run.
func (c *crew) alive() (all []*worker) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range c.slots {
		if w != nil && w.alive() {
			all = append(all, w)
		}
	}
	return all
}

// free returns a slot without a worker.
func (c *crew) free() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.IndexFunc(c.slots[:], func(w *worker) bool { return w == nil || !w.alive() })
}

// of returns the worker that is a process, or nil.
func (c *crew) of(pid int) *worker {
	for _, w := range c.alive() {
		if w.pid == pid {
			return w
		}
	}
	return nil
}

// heard returns what the workers have said so far.
func (c *crew) heard() troubles {
	c.measure()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.troubles
}

// pass waits until so many passes have ended.
func (c *crew) pass(ctx context.Context, n int) error {
	passes := c.heard().passes
	err := until(ctx, recoverWithin, 50*time.Millisecond, func() bool { return c.heard().passes >= passes+n })
	if errors.Is(err, errPatience) {
		return violated("a worker hangs: not %d passes within %s", n, recoverWithin)
	}
	return err
}

// measure looks at how much memory the workers have needed.
func (c *crew) measure() {
	for _, w := range c.alive() {
		c.note(w.memory())
	}
}

func (c *crew) note(memory int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.peak = max(c.peak, memory)
}

// line is what a worker logs, as far as it matters here.
type line struct {
	Msg    string `json:"msg"`
	Result string `json:"result"`
	Report report `json:"report"`
}

// hear listens to one line of a worker.
func (c *crew) hear(w *worker, text []byte) {
	if bytes.Contains(text, []byte(token)) || noted.Match(text) {
		c.fail(violated("a secret or somebody's notes are in the log of process %d: %s", w.pid, text))
	}
	var l line
	if json.Unmarshal(text, &l) != nil {
		return // the last words of a crash, which its end tells of
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch l.Msg {
	case "took the lease":
		c.takeovers++
	case "pass failed", "pass done", "pass stopped":
		c.passes++
		if l.Report.Pass != "" {
			l.Report.result = l.Result
			c.ended(&l.Report)
		}
		if l.Result != "ok" {
			c.troubled++
		} else if least := c.least(); l.Report.Fetched < least {
			c.fail(violated("believed a broken answer: pass %s of process %d calls itself ok with %d shifts, and the API had %d at least",
				l.Report.Pass, w.pid, l.Report.Fetched, least))
		}
	}
}

// listener writes what it gets to a file, and hands it on line by line.
type listener struct {
	log  *os.File
	hear func([]byte)

	mu   sync.Mutex // guards what follows
	rest []byte
	line []byte // the last whole one
}

func (l *listener) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, p...)
	for {
		line, rest, whole := bytes.Cut(l.rest, []byte("\n"))
		if !whole {
			return l.log.Write(p)
		}
		l.line = bytes.Clone(line)
		l.hear(l.line)
		l.rest = rest
	}
}

func (l *listener) last() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.line) + string(l.rest)
}

func (w *worker) alive() bool {
	select {
	case <-w.ended:
		return false
	default:
		return true
	}
}

func (w *worker) isDoomed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.doomed
}

func (w *worker) doom() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.doomed = true
}

// kill ends the worker at once and waits for its end.
func (w *worker) kill() {
	w.doom()
	_ = w.cmd.Process.Kill() // it may have ended by itself
	<-w.ended
}

// pause and resume do what a virtual machine does that is moved.
func (w *worker) pause() error  { return w.cmd.Process.Signal(syscall.SIGSTOP) }
func (w *worker) resume() error { return w.cmd.Process.Signal(syscall.SIGCONT) }

// stop asks the worker to end, and returns how long that took.
func (w *worker) stop(limit time.Duration) (time.Duration, error) {
	w.doom()
	began := time.Now()
	if err := w.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return 0, err
	}
	select {
	case <-w.ended:
		if w.err != nil {
			return 0, violated("a stop is clean: process %d ended with %v", w.pid, w.err)
		}
		return time.Since(began), nil
	case <-time.After(limit):
		return 0, violated("a stop is bounded: process %d runs on %s after SIGTERM", w.pid, limit)
	}
}

// memory is the most that the worker has ever held, in kB; 0 if it has ended.
func (w *worker) memory() int64 {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.pid))
	for text := range strings.Lines(string(status)) {
		if n, is := strings.CutPrefix(text, "VmHWM:"); is {
			kB, _ := strconv.ParseInt(strings.Fields(n)[0], 10, 64)
			return kB
		}
	}
	return 0
}
