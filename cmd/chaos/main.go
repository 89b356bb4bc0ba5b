//go:build linux

// Command chaos shows that slotsync keeps its promise while everything around it fails. The worker runs as it is
// delivered, as two or three processes beside a real Redis and three real Kafka brokers, with an API and a registry that
// misbehave. Shifts change all the time, some of them back and forth, and a fault follows the other.
//
//	go run ./cmd/chaos --for 30m             a run of half an hour
//	go run ./cmd/chaos --seed 7 --for 30m    the same faults in the same order as in any other run with seed 7
//	go run ./cmd/chaos --only redis,API      those faults only
//	go run ./cmd/chaos --list                what there is
//
// An independent reader holds every record against what the API said and when: of each shift, the records have to
// follow each other as its versions did, and the last one has to be the newest; that of a deleted one is a tombstone, and
// no other's is. What cannot be published has one dead letter a version. After each fault all has to arrive; now
// and then all change rests, until topic and API have to be the same and nothing more may come. Then each record that was
// repeated has to be one of those that the pass which sent it did not remember, by its own word or by what stood in Redis
// when its worker died; and other workers begin, with SYNC_DELETES at tombstone every other time. It ends with a table,
// and with status 1 if a promise was broken; then the history of the shift tells how.
//
// The workers look for missing shifts once a minute, and again after longer and longer times. Here a minute passes in
// seconds: the times in Redis are set back.
//
// SLOTSYNC_TEST_KAFKA_JARS names a folder with Kafka's jars; make chaos downloads them.
//
// That it finds faults is shown by faults: testdata/broken has patches that break the worker, each in one of the ways
// that the protocol exists to prevent, and make chaos-proof wants each of them to be caught.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // a second signal kills, and with us all that we started
	ctx, end := context.WithCancelCause(ctx)
	go func() { // ends with the program
		<-withoutGoRun()
		end(errors.New("go run is gone"))
	}()
	err := start(ctx, os.Args[1:], os.Getenv, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
	}
	os.Exit(exitCode(err))
}

// withoutGoRun returns a channel that is closed when `go run`, which started this program, is gone. It passes no signal on.
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

// exitCode tells a broken promise from a run that did not come to its end.
func exitCode(err error) int {
	var v *violation
	switch {
	case err == nil:
		return 0
	case errors.As(err, &v):
		return 1
	}
	return 2
}

// options are what can be asked for.
type options struct {
	Seed   uint64        `help:"Which faults strike, in which order, and what else is chance. 0: any, which is printed." default:"0"`
	For    time.Duration `help:"How long faults go on striking, counted from the start." default:"5m"`
	Shifts int           `help:"Shifts in the window." default:"10000"`
	Rate   int           `help:"Changes a second." default:"200"`
	Only   []string      `help:"Only faults whose name has one of these words in it." placeholder:"WORD"`
	Logs   string        `help:"Folder to keep the workers' logs in. Else they are thrown away." placeholder:"PATH"`
	List   bool          `help:"Name the faults."`

	Jars string `kong:"-"` // folder of Kafka's jars
}

// start does what args ask for.
func start(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) error {
	var o options
	helped := false
	parser, err := kong.New(&o, kong.Name("chaos"), kong.Description("Shows that slotsync keeps its promise while everything around it fails."),
		kong.Writers(stdout, stdout), kong.Exit(func(int) { helped = true }))
	if err != nil {
		return fmt.Errorf("declare flags: %w", err)
	}
	if _, err = parser.Parse(args); helped || err != nil {
		return err
	}
	o.Jars = getenv("SLOTSYNC_TEST_KAFKA_JARS")
	for o.Seed == 0 {
		o.Seed = rand.Uint64N(1_000_000)
	}
	switch {
	case o.List:
		for _, f := range append(deadly(), harmful()...) {
			fmt.Fprintln(stdout, f.name)
		}
		return nil
	case newPlan(o.Seed, o.Only).empty():
		return fmt.Errorf("--only: no fault has %s in its name; --list tells what there is", strings.Join(o.Only, " or "))
	case o.Shifts < 1 || o.Rate < 1:
		return errors.New("--shifts and --rate have to be 1 or more")
	case o.Jars == "":
		return errors.New("SLOTSYNC_TEST_KAFKA_JARS names no folder with Kafka's jars: make chaos downloads them and sets it")
	}
	return try(ctx, o, stdout)
}
