// Command slotsync keeps a Kafka topic in step with the shifts of When I Work.
//
//	slotsync            passes until stopped (also: slotsync foreground)
//	slotsync --once     one pass
//	slotsync --once --dry-run
//	                    says what a pass would publish, and why
//	slotsync --republish all
//	                    has shifts published again
//	slotsync check      asks every dependency whether the worker would work
//	slotsync tail       the topic's records as lines of JSON
//	slotsync schemas    the Avro schemas: show, check, register
//	slotsync health     asks the running worker whether it is alive
//	slotsync version    module version, commit, Go version (also: slotsync --version)
//	slotsync --help     every setting, its variables and its default (also: slotsync help)
//	slotsync help check the flags of a command
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	shiftsync "github.com/slotsync/slotsync/sync"
)

func main() {
	// Who has stopped reading what we print ends a write with an error, not the program with a signal.
	signal.Ignore(syscall.SIGPIPE)
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbagePercent)
	}
	err := run(untilSignal(), os.Args[1:], environment(), os.Stdout, os.Stderr)
	complain(os.Stderr, err)
	os.Exit(exitCode(err))
}

// garbagePercent is how much garbage may come to what is in use before it is collected. What is in use is a few MB,
// however many shifts there are, and there is little garbage: at the usual 100 the program took 5 MB more, to save 3 % of
// its CPU time in a pass that publishes much, and 10 % in one that publishes nothing.
const garbagePercent = 30

// complain says what went wrong, if anything did and the log does not say it already.
func complain(w io.Writer, err error) {
	if err = advised(untold(err)); err != nil {
		fmt.Fprintln(w, "slotsync:", visible(err.Error()))
	}
}

// untilSignal returns a context that ends, with the signal as its cause, when somebody asks the program to stop. Who
// asks twice does not want to wait: the second signal kills.
func untilSignal() context.Context {
	signalled, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctx, end := context.WithCancelCause(context.Background())
	context.AfterFunc(signalled, func() {
		stop() // before anybody is told of the first one: who reads that the second kills may send it at once
		end(context.Cause(signalled))
	})
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
	case "health":
		return probe(ctx, cfg, stdout)
	case "check":
		return checkWorld(ctx, cfg, stdout, stderr, getenv("NO_COLOR") == "")
	}
	screen := newScreen(stderr)
	log := newLog(screen, cfg)
	for _, text := range cfg.warnings {
		log.Warn("setting", "warning", text)
	}
	switch {
	case cfg.Republish.any():
		return republish(ctx, cfg, log, stdout)
	case cfg.DryRun:
		return dryRun(ctx, cfg, log, screen, stdout)
	case cfg.command == "tail":
		return tail(ctx, cfg, log, stdout)
	case cfg.command == "schemas show":
		return showSchemas(ctx, cfg, stdout)
	case cfg.command == "schemas check":
		return checkSchemas(ctx, cfg, stdout)
	case cfg.command == "schemas register":
		return registerSchemas(ctx, cfg, stdout)
	}
	return runWorker(ctx, cfg, log, screen)
}

// runWorker runs the worker with all that watches it.
func runWorker(ctx context.Context, cfg *config, log *slog.Logger, screen *screen) (err error) {
	ctx, ended := announceStop(ctx, log)
	defer ended()
	defer tell(&err, log, cfg.Once)
	log.Info("slotsync is starting", "version", moduleVersion(), "topic", cfg.Kafka.Topic, "days_prior", cfg.Sync.DaysPrior, "days_ahead", cfg.Sync.DaysAhead)
	stats := newMetrics(cfg, log)
	defer closeInto(&err, stats, "close metrics")
	spans, err := newTraces(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer closeInto(&err, spans, "close traces")
	watch := newObserver(cfg, log, stats, screen)
	if cfg.servesHTTP() {
		server, err := serve(cfg.HTTP.Addr, stats.page.beside(newWebsite(cfg, watch)), log)
		if err != nil {
			return err
		}
		defer closeInto(&err, server, "close HTTP_ADDR")
	}
	if !cfg.Once {
		stats.starting()
	}
	return work(ctx, cfg, log, watch, spans)
}

// announceStop logs that ctx has ended, and then ends the context that it returns. What it returns beside that is to be
// called at the end of all, and logs it if there was a stop.
func announceStop(ctx context.Context, log *slog.Logger) (announced context.Context, ended func()) {
	announced, end := context.WithCancelCause(context.WithoutCancel(ctx))
	unasked := context.AfterFunc(ctx, func() {
		log.Info("stopping: the batch in hand is finished first, a second signal kills", "cause", context.Cause(ctx))
		end(context.Cause(ctx))
	})
	return announced, func() {
		if !unasked() {
			<-announced.Done()
			log.Info("stopped")
		}
		end(nil)
	}
}

// toldError is an error that the log holds already.
type toldError struct{ err error }

func (e *toldError) Error() string { return e.err.Error() }
func (e *toldError) Unwrap() error { return e.err }

// told marks an error as logged.
func told(err error) error {
	if err == nil {
		return nil
	}
	return &toldError{err}
}

// untold returns what of err was not logged yet, or nil if nothing is left.
func untold(err error) error {
	if _, logged := err.(*toldError); logged {
		return nil
	}
	var some *toldError
	if joined, ok := err.(interface{ Unwrap() []error }); ok && errors.As(err, &some) {
		var rest []error
		for _, part := range joined.Unwrap() {
			rest = append(rest, untold(part))
		}
		return errors.Join(rest...)
	}
	return err
}

// tell logs what the program ends with, as far as the log does not hold it.
func tell(err *error, log *slog.Logger, once bool) {
	switch rest := untold(*err); {
	case rest == nil:
	case once:
		log.Error("ended with an error", "err", advised(rest))
	default:
		log.Error("worker ended", "err", advised(rest))
	}
	*err = told(*err)
}

// closeInto closes c and lets its error be the result, if there is no other.
func closeInto(err *error, c io.Closer, doing string) {
	if cerr := c.Close(); cerr != nil {
		*err = errors.Join(*err, fmt.Errorf("%s: %w", doing, cerr))
	}
}

// moduleVersion is the version that the binary was built from, as far as it knows.
func moduleVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return "unknown"
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
