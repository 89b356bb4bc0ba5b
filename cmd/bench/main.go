//go:build linux

// Command bench measures how fast the worker is, how much it takes, and how far that is from what the machine could do.
// The worker runs as it is delivered, one pass after the other, beside a real Redis, an API, a broker and a registry
// that are processes of their own.
//
//	go run ./cmd/bench                            all cases, three passes of each, with the ceiling of each
//	go run ./cmd/bench --shifts 100000 --changed all,none --way plain
//	go run ./cmd/bench --against PATH             this tree's worker and another build of it by turns
//	go run ./cmd/bench rest                       what a worker takes that has nothing to do
//	go run ./cmd/bench --plot docs/benchmarks.svg
//
// Each pass is a line that benchstat reads. docs/benchmarks.md tells what is measured and how.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal kills
	if err := start(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are what can be asked for.
type options struct {
	Measure  measureOptions `cmd:"" default:"withargs" help:"Measure passes."`
	Rest     restOptions    `cmd:"" help:"Measure what a worker takes that has nothing to do."`
	API      apiOptions     `cmd:"" name:"serve-api" hidden:""`
	Broker   brokerOptions  `cmd:"" name:"serve-broker" hidden:""`
	OneStage stageOptions   `cmd:"" name:"stage" hidden:""`
}

type measureOptions struct {
	Shifts  []int    `help:"Shifts in the window." default:"10000,100000,1000000"`
	Changed []string `help:"How many of them are new or changed: all, none, or 1% of them." default:"all,none,1%" enum:"all,none,1%"`
	Way     []string `help:"How they come: plain or gzip, or plain with Redis far away (0.6 ms)." default:"plain,gzip,far" enum:"plain,gzip,far"`
	Count   int      `help:"Passes of each case; of a million shifts it is one." default:"3"`
	Worker  string   `help:"The worker to measure. Else it is built from this tree." placeholder:"PATH"`
	Against string   `help:"Another build of the worker, whose passes alternate with the first one's; there is no ceiling then." placeholder:"PATH"`
	Kafka   string   `help:"Measure with these brokers instead of the loopback one, in their topic bench." placeholder:"HOST:PORT"`
	Plot    string   `help:"Write a plot of the result, an SVG, to this file." placeholder:"PATH"`
	Guard   float64  `help:"Warn of each case that stays below this share of its ceiling. It does not fail." placeholder:"SHARE"`
}

// start does what args ask for.
func start(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	var o options
	helped := false
	parser, err := kong.New(&o, kong.Name("bench"), kong.Description("Measures passes of the worker, and their ceiling."),
		kong.Writers(stdout, stderr), kong.Exit(func(int) { helped = true }))
	if err != nil {
		return fmt.Errorf("declare flags: %w", err)
	}
	call, err := parser.Parse(args)
	if helped || err != nil {
		return err
	}
	switch call.Command() {
	case "serve-api":
		return o.API.serve(stdin, stdout)
	case "serve-broker":
		return o.Broker.serve(stdin, stdout)
	case "rest":
		return o.Rest.measure(ctx, stdout, stderr)
	case "stage":
		return o.OneStage.measure(ctx, stdout)
	}
	if o.Measure.Count < 1 {
		return errors.New("--count has to be 1 or more")
	}
	return measure(ctx, o.Measure, stdout, stderr)
}
