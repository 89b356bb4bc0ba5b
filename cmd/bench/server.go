//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"time"
)

// hello is the line with which a server says that it is there.
type hello struct {
	Control  string   // host:port that answers GET /figures
	API      string   // URL
	Registry string   // URL
	Brokers  []string // host:port
}

// figures are what a server counted since it began.
type figures struct {
	CPU      time.Duration
	Requests int64 // of the kind that counts: for shifts, or to write records
	Bytes    int64 // of bodies that were sent, or records that came
}

// server is a process of this program's own that serves until its standard input ends.
type server struct {
	hello
	cmd   *exec.Cmd
	stdin io.Closer
}

// startServer starts this program again, with args.
func startServer(ctx context.Context, stderr io.Writer, args ...string) (*server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", args[0], err)
	}
	s := &server{cmd: exec.CommandContext(ctx, self, args...)}
	s.cmd.Stderr = stderr
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start %s: %w", args[0], err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", args[0], err)
	}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", args[0], err)
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &s.hello)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", args[0], err), s.Close())
	}
	return s, nil
}

// Close ends the process.
func (s *server) Close() error { return errors.Join(s.stdin.Close(), s.cmd.Wait()) }

// figures asks for what the server has counted.
func (s *server) figures(ctx context.Context) (f figures, err error) {
	return f, s.ask(ctx, http.MethodGet, "/figures", &f)
}

// ask sends a request to the server's control and reads its answer into into, if that is not nil.
func (s *server) ask(ctx context.Context, method, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+s.Control+path, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s", method, path, res.Status)
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(res.Body).Decode(into)
}

// counters are what a server counts.
type counters struct{ requests, bytes atomic.Int64 }

// serveUntilEOF serves a handler on a free port, and the figures beside it, says hello, and returns when stdin ends.
func serveUntilEOF(stdin io.Reader, stdout io.Writer, c *counters, mux *http.ServeMux, say func(addr string) hello) error {
	mux.HandleFunc("GET /figures", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(figures{CPU: usedBy(syscall.RUSAGE_SELF), Requests: c.requests.Load(), Bytes: c.bytes.Load()})
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	web := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- web.Serve(l) }()
	err = json.NewEncoder(stdout).Encode(say(l.Addr().String()))
	if err == nil {
		_, err = io.Copy(io.Discard, stdin)
	}
	err = errors.Join(err, web.Close())
	if e := <-served; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	return err
}

// usedBy returns the CPU time, user and system, of this process or of its children that have ended.
func usedBy(who int) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(who, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
