package main

import (
	"context"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slotsync/slotsync/cmd/mini/world"
)

// paper keeps what is printed and tells when a text has appeared.
type paper struct {
	mu   sync.Mutex // guards text
	text strings.Builder
	want string
	seen chan struct{}
}

func newPaper(want string) *paper { return &paper{want: want, seen: make(chan struct{})} }

func (s *paper) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := strings.Contains(s.text.String(), s.want)
	n, err := s.text.Write(p)
	if !before && strings.Contains(s.text.String(), s.want) {
		close(s.seen)
	}
	return n, err
}

func (s *paper) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// without returns this process's environment without what asks for the real API, which no test may.
func without() []string {
	return slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "WIW_") })
}

func TestOnePass(t *testing.T) {
	out := newPaper("In all")
	if err := run(t.Context(), t.Context(), []string{"--once"}, without(), out, io.Discard); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"topic  ", " + ", "… and 234 more", "in step:", "In all 240 records (240 new)"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	if i, j := strings.Index(out.String(), "234 more"), strings.Index(out.String(), "in step:"); i > j {
		t.Errorf("the pass is summed up before its records:\n%s", out)
	}
	if strings.Contains(out.String(), "  Page") {
		t.Errorf("one pass serves no page, and one is promised:\n%s", out)
	}
	if strings.Contains(out.String(), deedEvery.String()) {
		t.Errorf("one pass sees no edits, and they are promised all the same:\n%s", out)
	}
	for line := range strings.Lines(out.String()) {
		if strings.HasSuffix(line, " \n") {
			t.Errorf("%q has a blank at its end", line)
		}
	}
}

func TestChangesFollowUntilItIsStopped(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	out := newPaper(" → ")
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, t.Context(), nil, without(), out, io.Discard) }()
	select {
	case <-out.seen:
	case <-time.After(time.Minute):
		t.Errorf("no change was shown within a minute")
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("the end that was asked for is no error: got %v\n%s", err, out)
	}
	for _, want := range []string{"  Page         http://127.0.0.1:", " ~ ", "office ", "Stopping", "Worker and servers are gone."} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
}

func TestTheRealAPIIsReadOnlyWithAToken(t *testing.T) {
	w, err := world.Start(world.Options{Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	environ := []string{"WIW_KEY=mine", "WIW_USER_ID=5", "SYNC_DAYS_AHEAD=9", "REDIS_HOST=redis://production", "KAFKA_BROKERS=production:9092", "HOME=/x"}
	env := settings(w, environ, true)
	for _, want := range []string{"WIW_KEY=mine", "WIW_USER_ID=5", "SYNC_DAYS_AHEAD=9", "HOME=/x"} {
		if !slices.Contains(env, want) {
			t.Errorf("%s is missing in %v", want, env)
		}
	}
	if strings.Contains(strings.Join(env, " "), "production") {
		t.Errorf("the demo would write to what is not its own: %v", env)
	}
	if env := settings(w, environ, false); slices.Contains(env, "WIW_KEY=mine") || slices.Contains(env, "WIW_USER_ID=5") {
		t.Errorf("the made-up API gets real settings: %v", env)
	}
	for _, c := range []struct{ environ, want string }{
		{"HOME=/x", ""}, {"WIW_KEY=", ""}, {"WIW_KEYS=mine", ""},
		{"WIW_KEY=mine", "WIW_KEY"}, {"WIW_TOKEN=mine", "WIW_TOKEN"}, {"WIW_TOKEN_FILE=/mine", "WIW_TOKEN_FILE"},
	} {
		token := tokenIn([]string{c.environ})
		if token != c.want {
			t.Errorf("%s: got %q, want %q", c.environ, token, c.want)
		}
		var out strings.Builder
		greet(newScreen(&out, nil, nil), w, token, "")
		if real := strings.Contains(out.String(), "REAL"); real != (c.want != "") {
			t.Errorf("%s: the greeting hides whose shifts are read:\n%s", c.environ, &out)
		}
		if strings.Contains(out.String(), "mine") {
			t.Errorf("%s: the token is shown:\n%s", c.environ, &out)
		}
	}
}

func TestArguments(t *testing.T) {
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"--help", 0, "--servers"},
		{"--twice", 2, ""},
		{"once", 2, ""},
		{"--once --servers", 2, ""},
	} {
		var out strings.Builder
		err := run(t.Context(), t.Context(), strings.Fields(c.args), nil, &out, io.Discard)
		if code := exitCode(err); code != c.code || !strings.Contains(out.String(), c.says) {
			t.Errorf("%s: got %d and %q, want %d", c.args, code, out.String(), c.code)
		}
	}
}
