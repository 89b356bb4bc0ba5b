// Command slotsync keeps a Kafka topic in step with the shifts of When I Work.
//
//	slotsync            passes until stopped (also: slotsync foreground)
//	slotsync --once     one pass
//	slotsync version    module version, commit, Go version (also: slotsync --version)
//	slotsync --help     every setting, its variables and its default
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	shiftsync "github.com/slotsync/slotsync/sync"
)

func main() {
	err := run(untilSignal(), os.Args[1:], environment(), os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "slotsync:", err)
	}
	os.Exit(exitCode(err))
}

// untilSignal returns a context that ends, with the signal as its cause, when somebody asks the program to stop. Who
// asks twice does not want to wait: the second signal kills.
func untilSignal() context.Context {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx
}

// environment returns a way to look up variables. Those that the StatsD client would read past us, so that a flag
// could not win over them, it takes away.
func environment() func(string) string {
	taken := map[string]string{}
	for _, name := range []string{"DD_ENV", "DD_SERVICE", "DD_VERSION"} {
		taken[name] = os.Getenv(name)
		os.Unsetenv(name)
	}
	return func(name string) string { return cmp.Or(taken[name], os.Getenv(name)) }
}

// exitCode turns the end of a run into the number that scripts see.
func exitCode(err error) int {
	var usage *usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		return 2
	case errors.Is(err, shiftsync.ErrPending):
		return 3
	default:
		return 1
	}
}

// run does what args ask for, until it is done or ctx ends, which is how a worker is stopped.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) (err error) {
	cfg, err := load(args, getenv, stdout)
	if err != nil {
		return err
	}
	switch cfg.command {
	case "":
		return nil // the help page was all
	case "version":
		return printVersion(stdout)
	}
	screen := newScreen(stderr)
	log := newLog(screen, cfg)
	for _, text := range cfg.warnings {
		log.Warn("setting", "warning", text)
	}
	stats := newMetrics(cfg, log)
	defer closeInto(&err, stats, "close metrics")
	if !cfg.Once {
		stats.starting()
	}
	return work(ctx, cfg, log, stats, newObserver(cfg, log, stats, screen))
}

// closeInto closes c and lets its error be the result, if there is no other.
func closeInto(err *error, c io.Closer, doing string) {
	if cerr := c.Close(); cerr != nil {
		*err = errors.Join(*err, fmt.Errorf("%s: %w", doing, cerr))
	}
}

func printVersion(w io.Writer) error {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return errors.New("the binary does not say what it was built from")
	}
	commit, modified := "unknown", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = " and changes"
		}
	}
	_, err := fmt.Fprintf(w, "slotsync %s\ncommit %s%s\n%s\n", info.Main.Version, commit, modified, info.GoVersion)
	return err
}
