// Package cachetest starts real Redis servers, for tests: alone, with replicas and Sentinels, or as a cluster.
package cachetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

// patience is how long a server may take for what it does in a moment.
const patience = time.Minute

// Server is a redis-server on loopback, whose data outlives its process.
type Server struct {
	Addr    string // host:port
	TLSAddr string // the same over TLS, if there are settings for it

	dir   string
	args  []string
	cmd   *exec.Cmd     // nil: it does not run
	ended chan struct{} // closed when cmd has, and all that it started
}

// Start starts a server in a folder of its own below dir. It appends to a file what it acknowledges, and the settings, each
// a name and a value, say what else it does, such as those of TLS.Settings. Close ends it.
func Start(dir string, settings ...string) (*Server, error) {
	return start(dir, append([]string{"--save", "", "--appendonly", "yes", "--maxmemory-policy", "noeviction"}, settings...))
}

func start(dir string, args []string) (*Server, error) {
	const tries = 5
	for try := 1; ; try++ {
		s, err := startAt(dir, args)
		if err == nil || try == tries || !s.portWasTaken() {
			return s, err
		}
		s.Close()
	}
}

// startAt starts a server on ports that are free at the moment: somebody else may be faster to take one.
func startAt(dir string, args []string) (*Server, error) {
	address, port, err := freePort()
	if err != nil {
		return nil, err
	}
	s := &Server{Addr: address, dir: filepath.Join(dir, port)}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("start redis: %w", err)
	}
	s.args = append(slices.Clip(args), "--bind", "127.0.0.1", "--port", port, "--dir", s.dir, "--logfile", s.log())
	if s.setting("--tls-cert-file") != "" {
		if s.TLSAddr, port, err = freePort(); err != nil {
			return nil, err
		}
		s.args = append(s.args, "--tls-port", port)
	}
	return s, s.Run()
}

// log is the path of what the server logs.
func (s *Server) log() string { return filepath.Join(s.dir, "log") }

// portWasTaken tells whether the server did not start because another one listens where it should.
func (s *Server) portWasTaken() bool {
	if s == nil {
		return false
	}
	log, _ := os.ReadFile(s.log())
	return bytes.Contains(log, []byte("Address already in use"))
}

// setting returns the value of one that the server was started with, or "".
func (s *Server) setting(name string) string {
	if i := slices.Index(s.args, name); i >= 0 && i+1 < len(s.args) {
		return s.args[i+1]
	}
	return ""
}

// TLS has the paths of the files, in PEM, that a server speaks TLS with.
type TLS struct{ CA, Cert, Key string }

// Settings are those of a server that speaks TLS on a port of its own, with other servers too, and looks at the
// certificates of clients that have one.
func (f TLS) Settings() []string {
	return []string{
		"--tls-ca-cert-file", f.CA, "--tls-cert-file", f.Cert, "--tls-key-file", f.Key,
		"--tls-auth-clients", "optional", "--tls-replication", "yes",
	}
}

// freePort returns a port that is free, as is the one 10,000 above it, where a node of a cluster speaks to others. Both
// are below 32,768, where those of connections begin, so that they stay free while the server is down. The brokers of
// package publishtest, which is tested at the same time, take theirs elsewhere.
func freePort() (address, port string, err error) {
	for range 100 {
		n := 12_000 + rand.IntN(5_000)
		if isFree(n) && isFree(n+10_000) {
			return fmt.Sprintf("127.0.0.1:%d", n), fmt.Sprint(n), nil
		}
	}
	return "", "", errors.New("find a port: none is free together with the one 10,000 above it")
}

func isFree(port int) bool {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err == nil {
		_ = l.Close()
	}
	return err == nil
}

// Run starts the server again, with the data it had, and waits until it answers.
func (s *Server) Run() error {
	// Whatever the server starts, such as what rewrites its file, has this end of a pipe open until it has ended.
	held, holds, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("start redis: %w", err)
	}
	cmd := exec.Command("redis-server", s.args...)
	cmd.SysProcAttr = attributes()
	cmd.Stdout = holds
	err = cmd.Start()
	_ = holds.Close()
	if err != nil {
		_ = held.Close()
		return fmt.Errorf("start redis: %w", err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
		_, _ = io.Copy(io.Discard, held)
		_ = held.Close()
	}()
	s.cmd, s.ended = cmd, ended
	err = s.Wait("it answers", func(ctx context.Context, c *redis.Client) (bool, error) { return true, c.Ping(ctx).Err() })
	if err != nil {
		log, _ := os.ReadFile(s.log())
		return fmt.Errorf("start redis: %w\n%s", err, log)
	}
	return nil
}

// Stop ends the server in peace.
func (s *Server) Stop() error {
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		return fmt.Errorf("stop redis: %w", err)
	}
	select {
	case <-s.ended:
		return nil
	case <-time.After(patience):
		return fmt.Errorf("stop redis: it runs on after %s", patience)
	}
}

// Close ends the server and what it started at once, as kill -9 does. It may be called again.
func (s *Server) Close() {
	if s.cmd != nil {
		kill(s.cmd.Process)
		<-s.ended
	}
}

// Client returns a client for this server alone, to be closed by the caller.
func (s *Server) Client() *redis.Client {
	logging.Disable() // a server that is not up yet is asked until it is
	return redis.NewClient(&redis.Options{Addr: s.Addr, Password: s.setting("--requirepass"), MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true, DisableIdentity: true})
}

// Do sends a command and waits for its answer.
func (s *Server) Do(ctx context.Context, args ...any) error {
	c := s.Client()
	defer c.Close()
	if err := c.Do(ctx, args...).Err(); err != nil {
		return fmt.Errorf("%v: %w", args[0], err)
	}
	return nil
}

// Wait asks the server until the answer is yes.
func (s *Server) Wait(what string, done func(context.Context, *redis.Client) (bool, error)) error {
	return s.waitFor(patience, what, done)
}

func (s *Server) waitFor(patience time.Duration, what string, done func(context.Context, *redis.Client) (bool, error)) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := s.Client()
	defer c.Close()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		yes, err := done(ctx, c)
		if yes && err == nil {
			return nil
		}
		select {
		case <-again.C:
		case <-s.ended:
			return fmt.Errorf("wait until %s: the server at %s has ended", what, s.Addr)
		case <-ctx.Done():
			return fmt.Errorf("wait until %s: not after %s: %w", what, patience, errors.Join(err, ctx.Err()))
		}
	}
}

// Group is several servers that belong together.
type Group []*Server

// Close ends them all at once.
func (g Group) Close() {
	for _, s := range slices.Backward(g) {
		s.Close()
	}
}

// Addrs returns where they are.
func (g Group) Addrs() []string {
	var all []string
	for _, s := range g {
		all = append(all, s.Addr)
	}
	return all
}
