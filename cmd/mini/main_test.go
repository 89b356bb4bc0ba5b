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

// screen keeps what is printed and tells when a text has appeared.
type screen struct {
	mu   sync.Mutex // guards text
	text strings.Builder
	want string
	seen chan struct{}
}

func newScreen(want string) *screen { return &screen{want: want, seen: make(chan struct{})} }

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := strings.Contains(s.text.String(), s.want)
	n, err := s.text.Write(p)
	if !before && strings.Contains(s.text.String(), s.want) {
		close(s.seen)
	}
	return n, err
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func TestOnePass(t *testing.T) {
	out, log := newScreen("more"), newScreen("published")
	if err := run(t.Context(), []string{"--once"}, os.Environ(), out, log); err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	for _, want := range []string{"+ shift ", "… and 234 more"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
}

func TestChangesFollowUntilItIsStopped(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	out, log := newScreen("~ shift "), newScreen("in step")
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, nil, os.Environ(), out, log) }()
	select {
	case <-out.seen:
	case <-time.After(time.Minute):
		t.Errorf("no change was shown within a minute")
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("the end that was asked for is no error: got %v\n%s", err, log)
	}
	if !strings.Contains(out.String(), " → ") {
		t.Errorf("it does not say what changed:\n%s", out)
	}
}

func TestTheRealAPIIsReadOnlyWithAKey(t *testing.T) {
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
}

func TestWrongArguments(t *testing.T) {
	if err := run(t.Context(), []string{"--twice"}, nil, io.Discard, io.Discard); err == nil {
		t.Error("--twice is accepted")
	}
}
