package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/slotsync/slotsync/publish"
	shiftsync "github.com/slotsync/slotsync/sync"
)

// waitForSignals is the variable that makes the test binary a worker that does nothing but wait for signals.
const waitForSignals = "SLOTSYNC_TEST_WAIT_FOR_SIGNALS"

// beTheProgram is the variable that makes the test binary the program, for what the standard library reads from the
// environment of its process.
const beTheProgram = "SLOTSYNC_TEST_BE_THE_PROGRAM"

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(beTheProgram) != "":
		main()
	case os.Getenv(waitForSignals) == "":
		_ = flag.Set("test.parallel", "8") // they wait more than they work
		os.Exit(m.Run())
	}
	ctx := untilSignal()
	fmt.Println("ready")
	<-ctx.Done()
	fmt.Println(context.Cause(ctx))
	select {} // a stop that takes long
}

func TestOneSignalStopsAndTheNextKills(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(signal.String(), func(t *testing.T) {
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), self)
			cmd.Env = append(os.Environ(), waitForSignals+"=1")
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(out)
			next := func(want string) {
				t.Helper()
				if !lines.Scan() || !strings.Contains(lines.Text(), want) {
					t.Fatalf("got %q, want %q", lines.Text(), want)
				}
			}
			next("ready")
			cmd.Process.Signal(signal)
			next(signal.String() + " signal received")

			// The second signal is repeated, since the first one's handler may be still on its way out.
			ended := make(chan error, 1)
			go func() { io.Copy(io.Discard, out); ended <- cmd.Wait() }()
			again := time.NewTicker(20 * time.Millisecond)
			defer again.Stop()
			for waiting := true; waiting; {
				select {
				case <-again.C:
					cmd.Process.Signal(signal)
				case <-ended:
					waiting = false
				}
			}
			status := cmd.ProcessState.Sys().(syscall.WaitStatus)
			if !status.Signaled() || status.Signal() != signal {
				t.Errorf("got %v, want an end by %v", cmd.ProcessState, signal)
			}
		})
	}
}

func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		claim string
		err   error
		want  int
	}{
		{"all is well", nil, 0},
		{"a wrong call", &usageError{errors.New("unknown flag")}, 2},
		{"a wrong call, and closing fails too", errors.Join(&usageError{errors.New("unknown flag")}, errors.New("close")), 2},
		{"something stays pending", fmt.Errorf("pass: %w", shiftsync.ErrPending), 3},
		{"all else", errors.New("read: unexpected EOF"), 1},
	} {
		t.Run(c.claim, func(t *testing.T) {
			if got := exitCode(c.err); got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
		})
	}
}

func TestCalls(t *testing.T) {
	for _, c := range []struct {
		claim  string
		args   []string
		code   int
		stdout string // a part of it
		err    string // a part of it
	}{
		{"the help page", []string{"--help"}, 0, "--wiw-token-file", ""},
		{"the help page of a command", []string{"foreground", "--help"}, 0, "--wiw-token-file", ""},
		{"the short help flag", []string{"-h"}, 0, "--wiw-token-file", ""},
		{"the help page of a command without the settings", []string{"tail", "--help"}, 0, "slotsync --help lists the settings", ""},
		{"the help page of a command by another word", []string{"help", "check"}, 0, "--create-topic", ""},
		{"the help page by another word", []string{"help"}, 0, "--wiw-token-file", ""},
		{"the version", []string{"version"}, 0, "go1.", ""},
		{"an unknown flag", []string{"--twice"}, 2, "", "unknown flag --twice"},
		{"the version by flag", []string{"--version"}, 0, "go1.", ""},
		{"an unknown command", []string{"background"}, 2, "", "unexpected argument at word 1 (slotsync --help"},
		{"a misspelt command", []string{"verson"}, 2, "", `unexpected argument at word 1, did you mean "version"? (`},
		{"a secret where none is taken", []string{"s3cr3t"}, 2, "", "unexpected argument"},
		{"a secret behind a command", []string{"foreground", "s3cr3t"}, 2, "", "unexpected argument at word 2 ("},
		{"a secret behind a flag that takes none", []string{"--once", "s3cr3t"}, 2, "", "unexpected argument at word 2, behind --once ("},
		{"a secret behind a flag and its value", []string{"--sync-name=s3cr3t.", "s3cr3t"}, 2, "", "unexpected argument at word 2, behind --sync-name ("},
		{"a secret in a flag that is none", []string{"--wiw-token=s3cr3t"}, 2, "", "unknown flag --wiw-token"},
		{"nothing set", nil, 2, "", "KAFKA_BROKERS"},
		{"a pass and a version", []string{"--once", "version"}, 2, "", "--once does not go with version"},
		{"a pass and a version by flag", []string{"--version", "--republish=all", "--yes"}, 2, "", "--republish does not go with --version"},
	} {
		t.Run(c.claim, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			err := run(t.Context(), c.args, env{}.get, &stdout, &stderr)
			if got := exitCode(err); got != c.code {
				t.Errorf("got exit %d, want %d (%v)", got, c.code, err)
			}
			if !strings.Contains(stdout.String(), c.stdout) || c.stdout == "" && stdout.Len() > 0 {
				t.Errorf("got %q on stdout, want %q", &stdout, c.stdout)
			}
			if stderr.Len() > 0 {
				t.Errorf("got %q on stderr", &stderr)
			}
			if got := fmt.Sprint(err); strings.Contains(got, "s3cr3t") {
				t.Errorf("the error quotes what may be a secret: %s", got)
			} else if c.err != "" && !strings.Contains(got, c.err) {
				t.Errorf("got error %q, want %q", got, c.err)
			}
		})
	}
}

func TestWhatTheLogSaysIsNotSaidAgain(t *testing.T) {
	pass, closing, metrics := errors.New("pass"), errors.New("close kafka"), errors.New("close metrics")
	for _, c := range []struct {
		claim        string
		err          error
		logged, left string
	}{
		{"all is well", nil, "", ""},
		{"nothing is logged", pass, "ERROR worker ended: pass", ""},
		{"the pass is", told(pass), "", ""},
		{"the pass is, and two that close are not", errors.Join(errors.Join(told(pass), closing), metrics), "ERROR worker ended: close kafka; close metrics", ""},
		{"a wrong call, before there is a log", &usageError{pass}, "", "slotsync: pass\n"},
	} {
		t.Run(c.claim, func(t *testing.T) {
			var logged, left bytes.Buffer
			err, before := c.err, c.err
			if c.left == "" {
				tell(&err, slog.New(newPlainHandler(&logged, slog.LevelInfo)), false)
			}
			_, got, _ := strings.Cut(strings.TrimSpace(logged.String()), " ")
			if got != c.logged {
				t.Errorf("got the log %q, want %q", got, c.logged)
			}
			if complain(&left, err); left.String() != c.left {
				t.Errorf("got %q beside the log, want %q", &left, c.left)
			}
			if exitCode(err) != exitCode(before) || !errors.Is(err, before) {
				t.Errorf("got %v, exit %d, want %v, exit %d", err, exitCode(err), before, exitCode(before))
			}
		})
	}
}

func TestErrorsThatTheProgramHasAWayOutOfNameIt(t *testing.T) {
	for _, c := range []struct {
		claim string
		err   error
		want  string
	}{
		{"another layout", fmt.Errorf("bind: %w", &shiftsync.LayoutError{What: "the account", Was: "1", Now: "2"}),
			"bind: the account was 1 and is now 2; change it back, or start once with --accept-layout, which publishes the window anew"},
		{"no topic", fmt.Errorf("topic: %w", publish.ErrNoTopic), "topic: " + publish.ErrNoTopic.Error() + "; slotsync check --create-topic makes it"},
		{"no right in Redis", errors.New("eval: NOPERM this user"), "eval: NOPERM this user; the README has the rule (ACL SETUSER) for the user of REDIS_HOST"},
		{"another", errors.New("read: unexpected EOF"), "read: unexpected EOF"},
	} {
		got := advised(c.err)
		if got.Error() != c.want || !errors.Is(got, c.err) {
			t.Errorf("%s: got %q, want %q", c.claim, got, c.want)
		}
	}
	if advised(nil) != nil {
		t.Error("advice without an error")
	}
}

func TestTheHelpOfACommandIsShort(t *testing.T) {
	for _, command := range []string{"check", "tail", "schemas", "schemas show", "health", "version"} {
		var page bytes.Buffer
		if _, err := load(append(strings.Fields(command), "--help"), env{}.get, &page); err != nil {
			t.Fatal(err)
		}
		if text := page.String(); strings.Contains(text, "--wiw-") || !strings.Contains(text, "--help") || strings.Count(text, "\n") > 40 {
			t.Errorf("%s: %s", command, text)
		}
	}
}

func TestAPathThatLooksLikeOneIsNamed(t *testing.T) {
	folder := t.TempDir()
	for path, shown := range map[string]bool{folder + "/none": true, "./none-here": true, "../none/here": true, "s3cr3t": false, "/s3cr3t+x": false, "//u:s3cr3t@h/": false} {
		_, err := load(nil, minimal(env{"WIW_KEY": "", "WIW_KEY_FILE": path}).get, io.Discard)
		if err == nil || strings.Contains(err.Error(), path) != shown || !strings.Contains(err.Error(), "WIW_KEY_FILE names a file that cannot be read") {
			t.Errorf("%s: got %v", path, err)
		}
	}
}

func TestLongTimesAreInDays(t *testing.T) {
	for d, want := range map[time.Duration]string{168 * time.Hour: "7 days", 24 * time.Hour: "1 day", 90 * time.Minute: "1h30m0s", 25 * time.Hour: "25h0m0s", 0: "0s"} {
		if got := inDays(d); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

type failingCloser struct{ err error }

func (c failingCloser) Close() error { return c.err }

func TestAFailedCloseIsPartOfTheResult(t *testing.T) {
	before, closing := errors.New("before"), errors.New("flush")
	for _, c := range []struct {
		claim      string
		err, close error
		want       string
	}{
		{"alone", nil, closing, "close kafka: flush"},
		{"beside another", before, closing, "before\nclose kafka: flush"},
		{"none", before, nil, "before"},
	} {
		err := c.err
		closeInto(&err, failingCloser{c.close}, "close kafka")
		if err == nil || err.Error() != c.want {
			t.Errorf("%s: got %v, want %s", c.claim, err, c.want)
		}
	}
}

func TestFlagsOfAPassGoWithAPass(t *testing.T) {
	for _, c := range []struct {
		claim string
		args  string
		want  string // all that is wrong; empty: nothing
	}{
		{"one pass", "--once", ""},
		{"one pass, by its command", "foreground --once", ""},
		{"a dry run", "--once --dry-run", ""},
		{"another layout for all passes", "--accept-layout", ""},
		{"another layout for one", "--once --accept-layout", ""},
		{"another layout for a dry run", "--once --dry-run --accept-layout", ""},
		{"a question", "--republish all", ""},
		{"no question", "--republish 5 --yes", ""},
		{"a dry run of what", "--dry-run", "--dry-run goes with --once"},
		{"yes to what", "--yes", "--yes goes with --republish"},
		{"a pass that is asked for elsewhere", "--once --republish all", "--republish does not go with --once: it does no pass, whoever holds the lease does"},
		{"a layout that is accepted elsewhere", "--accept-layout --republish all", "--republish does not go with --accept-layout: it does no pass, whoever holds the lease does"},
		{"a bad selection is one fault", "--republish nine --yes", `--republish must be all, a comma list of ids, or a span of days like 2026-11-01..2026-11-15, not "nine"`},
		{"two selections", "--republish 1 --republish 2", "--republish is there more than once: give all ids in one comma list"},
		{"a tail of a pass", "--once tail", "--once does not go with tail"},
		{"a tail that forgets", "tail --republish all --yes", "--republish does not go with tail\n--yes does not go with tail"},
		{"schemas of a dry run", "schemas register --once --dry-run", "--once does not go with schemas register\n--dry-run does not go with schemas register"},
		{"a check that forgets", "--republish all check", "--republish does not go with check"},
		{"a check that forgets it cannot tell what", "--republish nine check", `--republish must be all, a comma list of ids, or a span of days like 2026-11-01..2026-11-15, not "nine"` + "\n--republish does not go with check"},
		{"a check that accepts", "check --accept-layout", "--accept-layout does not go with check"},
		{"a probe that accepts", "health --accept-layout", "--accept-layout does not go with health"},
	} {
		_, err := load(strings.Fields(c.args), minimal(nil).get, io.Discard)
		if got := fmt.Sprint(err); c.want == "" && err != nil || c.want != "" && (got != c.want || exitCode(err) != 2) {
			t.Errorf("%s: %s: got %v, want %q", c.claim, c.args, err, c.want)
		}
	}
}

func TestHabitsAreUnderstood(t *testing.T) {
	for args, want := range map[string]string{
		"./bin/slot_sync foreground":               "foreground",
		"bin/slot_sync foreground":                 "foreground",
		"/opt/app/bin/slot_sync foreground --once": "foreground",
		"help":              "",
		"help check":        "",
		"help schemas show": "",
	} {
		cfg, err := load(strings.Fields(args), minimal(nil).get, io.Discard)
		if err != nil || cfg.command != want {
			t.Errorf("%s: got %+v, %v, want %q", args, cfg, err, want)
		}
	}
}

type closedPipe struct{}

func (closedPipe) Write([]byte) (int, error) { return 0, syscall.EPIPE }

func TestWhoHasReadEnoughHelpIsNotBlamed(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"check", "--help"}} {
		if _, err := load(args, env{}.get, closedPipe{}); err != nil {
			t.Errorf("%v: %v", args, err)
		}
	}
}
