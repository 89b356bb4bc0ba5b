package main

import (
	"context"
	"fmt"
	"io"
	"strings"
)

// checkOptions say what to look at beside the usual, and in what form to tell it.
type checkOptions struct {
	JSON              bool `name:"json" help:"Print one JSON document."`
	Migrate           bool `name:"migrate" help:"Tell also what the first day in the place of slot_sync brings."`
	CreateTopic       bool `name:"create-topic" help:"Create the topic, compacted, if it is not there; with DLQ_TOPIC that one too, with one partition and for 30 days."`
	Partitions        int  `name:"partitions" placeholder:"N" min:"1" max:"100000" help:"Partitions of the topic to create. Unset: the cluster's default."`
	ReplicationFactor int  `name:"replication-factor" placeholder:"N" min:"1" max:"1000" help:"Replicas of each. Unset: the cluster's default."`
}

// verdict is how a check ended.
type verdict string

const (
	verdictOK   verdict = "ok"
	verdictWarn verdict = "warn" // it works, and something should be better or could not be found out
	verdictFail verdict = "fail" // the worker would not work like this
	verdictSkip verdict = "skip" // nothing was looked at: another check says why
)

// finding is what one check has found. Scripts read it, so names and verdicts stay as they are.
type finding struct {
	Name    string  `json:"name"`
	Group   string  `json:"group"`
	Verdict verdict `json:"status"`
	Seen    string  `json:"seen"`
	Advice  string  `json:"advice,omitempty"`  // for a warn or a fail: what to do
	Command string  `json:"command,omitempty"` // the advice as something to type, where there is such a thing

	title   string
	created bool // a topic, just now
}

// check is one line of the answer. Judge looks at what was gathered and asks nobody: it sets all but the names.
type check struct {
	name, group, title string
	judge              func(*facts) finding
}

// checks are all there are, in the order in which they are shown.
func checks() []check {
	var all []check
	for _, group := range [][]check{settingsChecks(), apiChecks(), redisChecks(), kafkaChecks(), registryChecks(), statsdChecks()} {
		all = append(all, group...)
	}
	return all
}

// failedError says that checks failed. The findings themselves have been printed.
type failedError struct{ failed, all int }

func (e *failedError) Error() string { return fmt.Sprintf("%d of %d checks failed", e.failed, e.all) }

// checkWorld asks every dependency what the worker would need of it, prints what it found, and returns a *failedError
// if something would keep the worker from working. It writes nothing, except for the topic if that is asked for; a broker
// that is asked about a fence for the first time makes its own topic for them.
func checkWorld(ctx context.Context, cfg *config, stdout, stderr io.Writer, colours bool) error {
	progress := newScreen(stderr)
	if progress.terminal {
		io.WriteString(stderr, "asking the API, Redis, Kafka, the registry and StatsD ...")
	}
	made := createTopics(ctx, cfg)
	seen := gather(ctx, cfg, askFor)
	seen.made = made
	if progress.terminal {
		io.WriteString(stderr, eraseLine)
	}
	if ctx.Err() != nil {
		// What has not answered until now is not at fault: nothing is said of anything.
		err := fmt.Errorf("interrupted before the end, so nothing is told: %w", context.Cause(ctx))
		for _, f := range made {
			err = fmt.Errorf("%w; the %s: %s", err, f.title, f.Seen)
		}
		return err
	}
	var report checkReport
	report.Checks = append(report.Checks, made...)
	for _, c := range checks() {
		f := c.judge(seen)
		f.Name, f.Group, f.title = c.name, c.group, c.title
		report.Checks = append(report.Checks, f)
	}
	if cfg.Check.Migrate {
		report.Migration = foresee(seen)
	}
	report.Verdict = verdictOK
	failed := 0
	for _, f := range report.Checks {
		switch {
		case f.Verdict == verdictFail:
			failed++
			report.Verdict = verdictFail
		case f.Verdict == verdictWarn && report.Verdict == verdictOK:
			report.Verdict = verdictWarn
		}
	}
	print := report.text
	if cfg.Check.JSON {
		print = report.json
	}
	if err := print(stdout, colours && newScreen(stdout).terminal); err != nil {
		return fmt.Errorf("print what was found: %w", err)
	}
	if failed > 0 {
		return &failedError{failed, len(report.Checks)}
	}
	return nil
}

func ok(format string, args ...any) finding {
	return finding{Verdict: verdictOK, Seen: fmt.Sprintf(format, args...)}
}

func warn(advice, format string, args ...any) finding {
	return finding{Verdict: verdictWarn, Seen: fmt.Sprintf(format, args...), Advice: advice}
}

func fail(advice, format string, args ...any) finding {
	return finding{Verdict: verdictFail, Seen: fmt.Sprintf(format, args...), Advice: advice}
}

func skip(why string) finding {
	return finding{Verdict: verdictSkip, Seen: "not looked at: " + why}
}

// with adds a command to a finding.
func (f finding) with(format string, args ...any) finding {
	f.Command = fmt.Sprintf(format, args...)
	return f
}

func settingsChecks() []check {
	return []check{{"settings", "Settings", "settings", func(w *facts) finding {
		if len(w.cfg.warnings) > 0 {
			return warn("change or unset what is named, if it is not meant", "%s", strings.Join(w.cfg.warnings, "; "))
		}
		return ok("read, nothing to remark")
	}}}
}
