package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slotsync/slotsync/cmd/mini/world"
)

// What the tests share: a world, and the program that somebody runs in it.

// start starts a world for the test.
func start(t *testing.T, o world.Options) *world.World {
	t.Helper()
	w, err := world.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// in returns the variables for the world, and over them the settings.
func in(w *world.World, settings env) env {
	all := env(w.Env())
	maps.Copy(all, settings)
	return all
}

// call runs the program in the world as a user would type it, and returns what it prints and its exit code. Where the
// API has no part in it, there is no WIW_KEY.
func call(t *testing.T, w *world.World, settings env, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	all := in(w, settings)
	if len(args) > 0 && slices.Contains([]string{"tail", "schemas", "health", "--republish"}, args[0]) {
		delete(all, "WIW_KEY")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out, log bytes.Buffer
	err := run(ctx, args, all.get, &out, &log)
	complain(&log, err)
	return out.String(), log.String(), exitCode(err)
}

// once does a pass, and returns its report and exit code.
func once(t *testing.T, w *world.World, settings env, args ...string) (rep map[string]any, code int, log string) {
	t.Helper()
	_, log, code = call(t, w, settings, append([]string{"--once"}, args...)...)
	for line := range strings.Lines(log) {
		var entry struct {
			Report map[string]any `json:"report"`
		}
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Report != nil {
			rep = entry.Report
		}
	}
	return rep, code, log
}

// published counts what a pass says it published.
func published(rep map[string]any) int {
	n, _ := rep["published"].(float64)
	return int(n)
}

// logged is a log that somebody reads while it is written.
type logged struct {
	ended chan struct{} // closed when nothing more will come; nil: nobody knows

	mu    sync.Mutex // guards all below
	text  bytes.Buffer
	grown chan struct{} // closed, and replaced, when something was written
}

func newLogged() *logged { return &logged{grown: make(chan struct{})} }

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.grown)
	l.grown = make(chan struct{})
	return l.text.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// until waits for n lines with the text, or more, and returns when each of them was written.
func (l *logged) until(t *testing.T, text string, n int) []time.Time {
	t.Helper()
	late := time.After(time.Minute)
	for {
		l.mu.Lock()
		log, grown := l.text.String(), l.grown
		l.mu.Unlock()
		var times []time.Time
		for line := range strings.Lines(log) {
			var entry struct{ Time time.Time }
			if strings.Contains(line, text) && json.Unmarshal([]byte(line), &entry) == nil {
				times = append(times, entry.Time)
			}
		}
		if len(times) >= n {
			return times
		}
		select {
		case <-grown:
			continue
		case <-l.ended:
			if log == l.String() { // else its last words are still to be read
				t.Fatalf("it has ended with %d times %q, want %d, in\n%s", len(times), text, n, log)
			}
		case <-late:
			t.Fatalf("%q is there %d times, want %d, in\n%s", text, len(times), n, log)
		}
	}
}

// How a pass has ended, in a log.
const (
	good = `"pass done"`
	bad  = `"pass failed"`
)

// running is the program at work as a loop, and its log.
type running struct {
	*logged
	stop func() // asks it to end
	err  error  // what it ended with; valid once ended is closed
}

// loop runs the program with these variables and no other, until it is stopped or, at the latest, the test ends. Unless
// they say otherwise its log tells of every pass, those that end as the one before included.
func loop(t *testing.T, all env, args ...string) *running {
	t.Helper()
	if all["LOG_LEVEL"] == "" {
		all = maps.Clone(all)
		all["LOG_LEVEL"] = "debug"
	}
	ctx, stop := context.WithCancel(t.Context())
	r := &running{logged: newLogged(), stop: stop}
	r.ended = make(chan struct{})
	go func() {
		defer close(r.ended)
		r.err = run(ctx, args, all.get, io.Discard, r)
	}()
	t.Cleanup(func() {
		stop()
		<-r.ended
	})
	return r
}

// loopHTTP runs it as loop does, with HTTP_ADDR on a port that is free, and returns where it serves.
func loopHTTP(t *testing.T, all env, args ...string) (r *running, addr string) {
	t.Helper()
	all = maps.Clone(all)
	all["HTTP_ADDR"] = "127.0.0.1:0"
	r = loop(t, all, args...)
	const serves = `"msg":"serving health and a page","addr":"`
	r.until(t, serves, 1)
	_, rest, _ := strings.Cut(r.String(), serves)
	addr, _, _ = strings.Cut(rest, `"`)
	return r, addr
}

// end waits for the end and returns the exit code.
func (r *running) end(t *testing.T) int {
	t.Helper()
	select {
	case <-r.ended:
	case <-time.After(30 * time.Second):
		t.Fatalf("it does not end:\n%s", r)
	}
	return exitCode(r.err)
}

// halt stops it, and fails if it does not end well.
func (r *running) halt(t *testing.T) {
	t.Helper()
	r.stop()
	if code := r.end(t); code != 0 {
		t.Errorf("got exit %d: %v\n%s", code, r.err, r)
	}
}

// freeAddr returns an address on loopback where nobody listens. No test is given what another one was, even if it is not
// in use yet, nor is a connection, whose ports begin at 32,768. The servers of other packages' tests take theirs elsewhere.
func freeAddr(t *testing.T) string {
	t.Helper()
	for range 1000 {
		addr := fmt.Sprintf("127.0.0.1:%d", 17_000+(uint32(os.Getpid())*101+addrs.Add(1))%5_000) // runs of these tests begin apart
		if l, err := net.Listen("tcp", addr); err == nil {
			_ = l.Close()
			return addr
		}
	}
	t.Fatal("there are no free ports")
	return ""
}

// addrs counts the addresses that freeAddr gave.
var addrs atomic.Uint32
