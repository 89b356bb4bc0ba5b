package main

import (
	"context"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestAWorkerFindsTheServersByWhatTheyPrint(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	settings, talk := newPaper("export WIW_URL="), newPaper("The servers are gone.")
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, t.Context(), []string{"--servers"}, []string{"WIW_KEY=real"}, settings, talk)
	}()
	select {
	case <-settings.seen:
	case <-time.After(time.Minute):
		t.Errorf("no settings within a minute")
	}
	env := []string{"HOME=" + t.TempDir()}
	for line := range strings.Lines(settings.String()) {
		assignment, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "export ")
		if !ok || strings.ContainsAny(assignment, " '\"$`\\;&|<>()*?#~!") {
			t.Errorf("a shell reads something else in %q", line)
		}
		env = append(env, assignment)
	}
	path, err := build(t.Context(), t.TempDir(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, "--once")
	cmd.Env = env
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("a worker with these settings: %v\n%s", err, out)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for _, want := range []string{"In all 24", "The servers are gone."} {
		if !strings.Contains(talk.String(), want) {
			t.Errorf("%q is not in\n%s", want, talk)
		}
	}
	if strings.Contains(talk.String(), "REAL") {
		t.Errorf("the servers claim to be the real API:\n%s", talk)
	}
}

// brokenPipe takes nothing.
type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestServersThatCannotSayWhereTheyAre(t *testing.T) {
	err := run(t.Context(), t.Context(), []string{"--servers"}, nil, brokenPipe{}, io.Discard)
	if err == nil || !strings.HasPrefix(err.Error(), "print the settings: ") {
		t.Errorf("got %v", err)
	}
}
