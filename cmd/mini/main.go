// Command mini shows slotsync at work, with everything it needs inside one process: an API that behaves like When I
// Work's, Redis, a Kafka broker and a schema registry. The worker is the real one, built from this source and started
// as a process of its own.
//
//	go run ./cmd/mini              shifts arrive, some change, and the topic follows; Ctrl-C ends it
//	go run ./cmd/mini --once       one pass, then what is in the topic
//	go run ./cmd/mini --servers    no worker: the servers alone, and the settings with which one finds them
//
// With WIW_KEY or WIW_TOKEN set, the worker reads the real API instead, with the settings that are in the environment.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

func main() {
	ctx, patience := untilAsked()
	err := run(ctx, patience, os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "mini:", err)
	}
	os.Exit(exitCode(err))
}

// untilAsked returns a context that ends when somebody asks the program to stop, and one that ends when somebody asks
// twice. A third time kills, as the system has it.
func untilAsked() (ctx, patience context.Context) {
	ctx, stop := context.WithCancel(context.Background())
	patience, giveUp := context.WithCancel(context.Background())
	asked := make(chan os.Signal, 1)
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) { // as nohup makes it
			signal.Notify(asked, s)
		}
	}
	// To a pipe that nobody reads any more, a write is then an error, of which the screen hears, and not our sudden end.
	// Nobody listens, because sockets whose other side was killed give this signal too.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	go func() { // ends with the program
		select {
		case <-asked:
		case <-withoutGoRun():
		}
		stop()
		<-asked
		giveUp()
		signal.Stop(asked)
	}()
	return ctx, patience
}

// withoutGoRun returns a channel that is closed when `go run`, which started this program, is gone. It passes no signal
// on and dies of most, and the program would live on where nobody looks for it.
func withoutGoRun() <-chan struct{} {
	gone := make(chan struct{})
	if path, err := os.Executable(); err != nil || !strings.Contains(path, "go-build") {
		return gone
	}
	parent := os.Getppid()
	go func() { // ends with the program
		for range time.Tick(500 * time.Millisecond) {
			if os.Getppid() != parent {
				close(gone)
				return
			}
		}
	}()
	return gone
}

// usageError is a wrong call.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// exitCode is the worker's own where it has one.
func exitCode(err error) int {
	var usage *usageError
	var ended *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		return 2
	case errors.As(err, &ended) && ended.ExitCode() > 0:
		return ended.ExitCode()
	}
	return 1
}

// flags are all there are.
type flags struct {
	Once    bool `xor:"mode" help:"One pass, then what is in the topic."`
	Servers bool `xor:"mode" help:"No worker: run the servers alone, and print the settings with which a worker finds them as lines for a shell. All other talk goes to stderr."`
}

const description = "Shows slotsync at work: the real worker, against an API with made-up shifts, Redis, Kafka and a schema registry " +
	"that run inside this process and are gone when it ends (Ctrl-C). It needs nothing but Go.\n\n" +
	"With WIW_KEY or WIW_TOKEN set, the worker reads the shifts of the real When I Work, with all WIW_* and SYNC_DAYS_* that are set; " +
	"what it reads still goes to the servers of this process alone. --servers never does so."

// run shows what args ask for, until that is done or ctx ends. After the end of patience it waits for nobody.
func run(ctx, patience context.Context, args, environ []string, stdout, stderr io.Writer) error {
	var f flags
	helped := false
	parser, err := kong.New(&f, kong.Name("mini"), kong.Description(description), kong.Writers(stdout, stdout),
		kong.Exit(func(int) { helped = true })) // kong calls it after the help page, and goes on when it returns
	if err != nil {
		return fmt.Errorf("declare flags: %w", err)
	}
	_, err = parser.Parse(args)
	switch {
	case helped:
		return nil
	case err != nil:
		return &usageError{fmt.Errorf("%w (--help tells what there is)", err)}
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if f.Servers {
		return serve(ctx, stdout, newScreen(stderr, environ, stop))
	}
	return demonstrate(ctx, patience, f.Once, environ, newScreen(stdout, environ, stop), stderr)
}
