// Command mini shows slotsync at work, with everything it needs inside one process: an API that behaves like When I
// Work's, Redis, a Kafka broker and a schema registry. The worker is the real one, built from this source and started
// as a process of its own.
//
//	go run ./cmd/mini           shifts arrive, some change, and the topic follows; Ctrl-C ends it
//	go run ./cmd/mini --once    one pass, then what is in the topic
//
// With WIW_KEY set, the worker reads the real API instead, with the settings that are in the environment.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/slotsync/slotsync/cmd/mini/world"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // who asks twice does not want to wait
	err := run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "mini:", err)
	}
	os.Exit(exitCode(err))
}

// exitCode is the worker's own where it has one.
func exitCode(err error) int {
	var ended *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &ended) && ended.ExitCode() > 0:
		return ended.ExitCode()
	}
	return 1
}

const (
	madeShifts = 240
	churnEvery = 1500 * time.Millisecond
)

// run shows the world until ctx ends, or one pass of it.
func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) (err error) {
	once := slices.Contains(args, "--once")
	if len(args) > 1 || len(args) == 1 && !once {
		return fmt.Errorf("usage: mini [--once], got %q", args)
	}
	dir, err := os.MkdirTemp("", "slotsync-mini-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	worker := filepath.Join(dir, "slotsync")
	if err := build(ctx, worker, stderr); err != nil {
		return err
	}
	w, err := world.Start(world.Options{Shifts: madeShifts, Partitions: 3, Seed: uint64(time.Now().UnixNano())})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()

	realAPI := slices.ContainsFunc(environ, func(kv string) bool { return strings.HasPrefix(kv, "WIW_KEY=") && kv != "WIW_KEY=" })
	greet(stdout, w, realAPI)
	cmd := exec.CommandContext(ctx, worker)
	cmd.Env = settings(w, environ, realAPI)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	// A Ctrl-C reaches the whole group at the terminal: the worker is to hear of it once, from us.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	if once {
		cmd.Args = append(cmd.Args, "--once")
	}
	view, err := newView(w, stdout)
	if err != nil {
		return err
	}
	defer view.Close()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the worker: %w", err)
	}
	if once {
		if err := cmd.Wait(); err != nil {
			return fmt.Errorf("the worker: %w", err)
		}
		return view.showAll(ctx)
	}
	watching, done := context.WithCancel(ctx)
	shown := make(chan struct{})
	go func() {
		defer close(shown)
		view.follow(watching)
	}()
	trickled := make(chan struct{})
	go func() {
		defer close(trickled)
		if !realAPI {
			trickle(watching, w)
		}
	}()
	err = cmd.Wait()
	done()
	<-shown
	<-trickled
	if ctx.Err() != nil && cmd.ProcessState.Success() {
		return nil // the end that was asked for: Wait tells of ctx all the same
	}
	if err != nil {
		return fmt.Errorf("the worker: %w", err)
	}
	return nil
}

// build makes the real worker's binary.
func build(ctx context.Context, to string, stderr io.Writer) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", to, "github.com/slotsync/slotsync/cmd/slotsync")
	cmd.Stderr = stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build the worker (mini needs Go and the source it was built from): %w", err)
	}
	return nil
}

// settings are the world's, for the worker. Of the environment it sees what has to do with the real API, if that is
// to be read, and nothing that could lead it elsewhere.
func settings(w *world.World, environ []string, realAPI bool) []string {
	own := w.Env()
	own["SYNC_SLEEP_PERIOD_SECONDS"] = "2"
	own["LOG_FORMAT"] = "text" // whoever looks at a demo is a person
	if realAPI {
		own["SYNC_SLEEP_PERIOD_SECONDS"] = "10"
		for name := range own {
			if strings.HasPrefix(name, "WIW_") || strings.HasPrefix(name, "SYNC_DAYS_") {
				delete(own, name)
			}
		}
	}
	var env []string
	for _, kv := range environ {
		name, _, _ := strings.Cut(kv, "=")
		switch {
		case slices.Contains([]string{"PATH", "HOME", "TMPDIR", "TERM", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR"}, name), strings.HasPrefix(name, "LOG_"),
			realAPI && (strings.HasPrefix(name, "WIW_") || strings.HasPrefix(name, "SYNC_DAYS_") || strings.HasSuffix(strings.ToUpper(name), "_PROXY")):
			env = append(env, kv)
		}
	}
	for name, value := range own {
		env = append(env, name+"="+value)
	}
	return env
}

// trickle changes a shift or two now and then, adds one, and takes one away.
func trickle(ctx context.Context, w *world.World) {
	tick := time.NewTicker(churnEvery)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			w.API.Churn(1 + n%2)
		}
	}
}

func greet(out io.Writer, w *world.World, realAPI bool) {
	api := fmt.Sprintf("%s  %d made-up shifts, one or two change every %s", w.APIURL, madeShifts, churnEvery)
	if realAPI {
		api = "the real one, with your WIW_KEY"
	}
	fmt.Fprintf(out, `slotsync keeps a Kafka topic in step with the shifts of When I Work.
All of this runs on this machine alone and is gone when it ends:

  When I Work   %s
  Redis         %s
  Kafka         %s  topic %s, 3 partitions
  Registry      %s

`, api, w.Redis.Addr(), strings.Join(w.Kafka.Addrs, ","), world.Topic, w.Registry.URL())
}
