package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// screen is where people look. On a terminal it keeps one line below the log that says how far a long pass is; such
// a line is taken away before anything else is written, and put back after it. Elsewhere nothing moves.
type screen struct {
	terminal bool

	mu    sync.Mutex // guards all below
	w     io.Writer
	line  string // as it is shown
	since time.Time
	next  time.Time // earliest time to show another line
}

const (
	showAfter = 2 * time.Second // a shorter pass needs no line
	showEvery = 100 * time.Millisecond
	eraseLine = "\r\x1b[K"
)

func newScreen(w io.Writer) *screen {
	f, ok := w.(*os.File)
	return &screen{w: w, terminal: ok && term.IsTerminal(int(f.Fd()))}
}

// Write writes whole lines of the log.
func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.line == "" {
		return s.w.Write(p)
	}
	io.WriteString(s.w, eraseLine)
	n, err := s.w.Write(p)
	io.WriteString(s.w, s.line)
	return n, err
}

// begin starts the clock of a pass.
func (s *screen) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since = time.Now()
	s.next = s.since.Add(showAfter)
}

// show says how far the pass is, if it has lasted long enough for anybody to wonder.
func (s *screen) show(fetched, published int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if !s.terminal || s.since.IsZero() || now.Before(s.next) {
		return
	}
	s.next = now.Add(showEvery)
	s.line = fmt.Sprintf("%s fetched, %s published, %d s", grouped(fetched), grouped(published), int(now.Sub(s.since).Seconds()))
	io.WriteString(s.w, eraseLine+s.line)
}

// end takes the line away.
func (s *screen) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.line != "" {
		io.WriteString(s.w, eraseLine)
	}
	s.line, s.since = "", time.Time{}
}
