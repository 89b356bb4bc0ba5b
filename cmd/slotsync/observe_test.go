package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	shiftsync "github.com/slotsync/slotsync/sync"
	"github.com/slotsync/slotsync/wiw"
)

// watched is an observer, and what people see of it.
type watched struct {
	*observer
	seen  *bytes.Buffer
	stats *recorder
}

func watch(t *testing.T, terminal bool, e env, args ...string) watched {
	t.Helper()
	var seen bytes.Buffer
	s := &screen{w: &seen, terminal: terminal}
	cfg := loadOK(t, minimal(e), args...)
	m, r := recording(t)
	return watched{newObserver(cfg, newLog(s, cfg), m, s), &seen, r}
}

// told returns the lines since the last call, without the time that they begin with on a terminal.
func (w watched) told() []string {
	var lines []string
	for line := range strings.Lines(w.seen.String()) {
		line = strings.TrimSpace(line)
		if _, err := time.Parse("15:04:05", line[:min(8, len(line))]); err == nil {
			line = line[9:]
		}
		lines = append(lines, line)
	}
	w.seen.Reset()
	return lines
}

func (w watched) want(t *testing.T, claim string, want ...string) {
	t.Helper()
	got := w.told()
	if len(got) != len(want) {
		t.Errorf("%s: got %d lines, want %d:\n%s", claim, len(got), len(want), strings.Join(got, "\n"))
		return
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%s: got  %s\nwant %s", claim, got[i], want[i])
		}
	}
}

func report(t shiftsync.Tally) shiftsync.Report {
	return shiftsync.Report{Tally: t, Pass: "p1", Took: 840 * time.Millisecond}
}

var errRedis = errors.New("hmget shifts: connection refused")

func TestAPassIsOneReadableLine(t *testing.T) {
	usual := report(shiftsync.Tally{Fetched: 1204, Unchanged: 1190, Published: 14})
	full := report(shiftsync.Tally{Fetched: 1234567, Unchanged: 5, Published: 999, SetAside: 2, StillAside: 1, NotCollected: 4, Deferred: 1000})
	full.Pending, full.Unburied, full.Swept = 3, 6, 7
	for _, c := range []struct {
		claim string
		args  []string
		rep   shiftsync.Report
		err   error
		want  string
	}{
		{"as usual", nil, usual, nil,
			"in step: 1,204 fetched, 1,190 unchanged, 14 published, 0 set aside, 0.8 s, next in 10 s"},
		{"the only pass has no next", []string{"--once"}, usual, nil,
			"in step: 1,204 fetched, 1,190 unchanged, 14 published, 0 set aside, 0.8 s"},
		{"with all there is to say", nil, full, nil,
			"not in step: 1,234,567 fetched, 5 unchanged, 999 published, 3 set aside, 3 pending, 6 dead letters waiting, 4 not collected, 1,000 left for later, 7 forgotten, 0.8 s, next in 10 s"},
		{"the broker is away", nil, full, fmt.Errorf("%w: publish: no broker", shiftsync.ErrPending),
			`WARN not in step: 1,234,567 fetched, 5 unchanged, 999 published, 3 set aside, 3 pending, 6 dead letters waiting, 4 not collected, 1,000 left for later, 7 forgotten, 0.8 s, next in 10 s: something stays pending: publish: no broker`},
		{"failed", nil, usual, errRedis,
			"ERROR pass failed after 0.8 s: hmget shifts: connection refused (1,204 fetched, 1,190 unchanged, 14 published, next in 10 s)"},
		{"failed before anything was read", nil, report(shiftsync.Tally{}), errRedis,
			"ERROR pass failed after 0.8 s: hmget shifts: connection refused (next in 10 s)"},
		{"the only pass failed, for two reasons", []string{"--once"}, report(shiftsync.Tally{}), errors.Join(errRedis, errors.New("release lease: timeout")),
			"ERROR pass failed after 0.8 s: hmget shifts: connection refused; release lease: timeout"},
		{"none had begun", nil, shiftsync.Report{}, errRedis,
			"ERROR pass failed: hmget shifts: connection refused (next in 10 s)"},
		{"stopped", nil, usual, fmt.Errorf("read: %w", context.Canceled),
			"pass stopped after 0.8 s: read: context canceled (1,204 fetched, 1,190 unchanged, 14 published)"},
	} {
		t.Run(c.claim, func(t *testing.T) {
			w := watch(t, true, nil, c.args...)
			w.Done(c.rep, c.err)
			w.want(t, c.claim, c.want)
		})
	}
}

func TestAPassIsOneJSONLineElsewhere(t *testing.T) {
	for _, c := range []struct {
		claim         string
		env           env
		terminal      bool
		err           error
		level, result string
	}{
		{"done", nil, false, nil, "INFO", "ok"},
		{"on a terminal that shall have JSON", env{"LOG_FORMAT": "json"}, true, nil, "INFO", "ok"},
		{"pending", nil, false, shiftsync.ErrPending, "WARN", "pending"},
		{"failed", nil, false, errRedis, "ERROR", "failed"},
	} {
		t.Run(c.claim, func(t *testing.T) {
			w := watch(t, c.terminal, c.env)
			w.Done(report(shiftsync.Tally{Fetched: 3}), c.err)
			lines := w.told()
			if len(lines) != 1 {
				t.Fatalf("got %d lines, want 1: %q", len(lines), lines)
			}
			var got struct {
				Level, Result string
				Report        struct{ Fetched int }
				Next          float64 `json:"next_in_s"`
			}
			if err := json.Unmarshal([]byte(lines[0]), &got); err != nil {
				t.Fatalf("%v: %s", err, lines[0])
			}
			if got.Level != c.level || got.Result != c.result || got.Report.Fetched != 3 || got.Next != 10 {
				t.Errorf("got %s, want level %s and result %s", lines[0], c.level, c.result)
			}
		})
	}
}

func TestResultsAreMeasured(t *testing.T) {
	for _, c := range []struct {
		claim string
		rep   shiftsync.Report
		err   error
		want  string // empty: nothing
	}{
		{"ok", report(shiftsync.Tally{}), nil, "result:ok"},
		{"pending intents", shiftsync.Report{Pass: "p1", Pending: 3}, nil, "result:pending"},
		{"the broker is away", report(shiftsync.Tally{}), fmt.Errorf("%w: publish: no broker", shiftsync.ErrPending), "result:pending"},
		{"failed", report(shiftsync.Tally{}), errRedis, "result:failed"},
		{"stopped", report(shiftsync.Tally{}), context.Canceled, ""},
		{"the lease is lost, and with it what was in hand", report(shiftsync.Tally{}), errors.Join(context.Canceled, shiftsync.ErrLeaseLost), "result:failed"},
		{"no pass had begun", shiftsync.Report{}, errRedis, ""},
	} {
		t.Run(c.claim, func(t *testing.T) {
			w := watch(t, false, nil)
			w.Done(c.rep, c.err)
			got := ""
			for _, line := range w.stats.lines {
				if rest, ok := strings.CutPrefix(line, "distribution pass.duration "); ok {
					got += rest
				}
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestALostLeaseIsNotHeldAnyMore(t *testing.T) {
	w := watch(t, false, nil)
	w.Acquired(shiftsync.Standing{})
	w.Lost()
	if active, _ := w.stats.gauge(metricActive); active != 0 {
		t.Errorf("got active %v, want 0", active)
	}
	if c := w.health.condition(); c.State != stateStarting {
		t.Errorf("got state %q, want %q", c.State, stateStarting)
	}
}

func TestTheEndOfTroubleIsSaid(t *testing.T) {
	w := watch(t, true, nil)
	const ok = "in step: 0 fetched, 0 unchanged, 0 published, 0 set aside, 0.8 s, next in 10 s"
	w.Done(report(shiftsync.Tally{}), errRedis)
	w.Done(report(shiftsync.Tally{}), shiftsync.ErrPending)
	w.told()
	w.Done(report(shiftsync.Tally{}), nil)
	w.want(t, "after two passes in trouble", "trouble is over passes_in_trouble=2", ok)
	w.Done(report(shiftsync.Tally{}), nil)
	w.want(t, "once", ok)
}

func TestANoticeIsSaidUntilItChanges(t *testing.T) {
	w := watch(t, true, nil)
	said := func(claim string, notices []string, want ...string) {
		t.Helper()
		rep := report(shiftsync.Tally{})
		rep.Notices = notices
		w.Done(rep, nil)
		got := w.told()
		w.seen.WriteString(strings.Join(got[:len(got)-1], "\n"))
		w.want(t, claim, want...)
	}
	said("new", []string{"old schema in use"}, `WARN notice text="old schema in use"`)
	said("again", []string{"old schema in use"})
	said("beside another", []string{"old schema in use", "no echo"}, `WARN notice text="no echo"`)
	said("with another number", []string{"broker 1: 10.0.0.1:40001->10.0.0.2:9092: refused"}, `WARN notice text="broker 1: 10.0.0.1:40001->10.0.0.2:9092: refused"`)
	said("with yet another number", []string{"broker 1: 10.0.0.1:40009->10.0.0.2:9092: refused"})
	said("in turn with another", []string{"no echo"})
	for range forgetNotice - 1 {
		said("gone for a while", nil)
	}
	said("back after a while", []string{"no echo"})
	for range forgetNotice {
		said("gone", nil)
	}
	said("back", []string{"no echo"}, `WARN notice text="no echo"`)
}

func TestTroubleThatEndsInStandingByIsOver(t *testing.T) {
	w := watch(t, true, nil)
	w.Done(shiftsync.Report{}, errRedis)
	w.told()
	found := shiftsync.Standing{Holder: "host-1"}
	w.Standby(found)
	w.want(t, "once", "trouble is over passes_in_trouble=1", "standing by: another worker holds the lease holder=host-1")
	w.Standby(found)
	w.want(t, "and not again")
	w.Done(shiftsync.Report{}, errRedis)
	w.told()
	w.Standby(found)
	w.want(t, "at once, and not when it says next that it stands by", "trouble is over passes_in_trouble=1")
}

func TestBadShiftsAreNamedAndThenCounted(t *testing.T) {
	w := watch(t, true, nil)
	for id := range int64(asideLines + 30) {
		w.SetAside(id, "no start_time")
	}
	got := w.told()
	if len(got) != asideLines || got[0] != `WARN shift set aside id=0 why="no start_time"` {
		t.Fatalf("got %d lines, the first %q, want %d", len(got), got[0], asideLines)
	}
	w.Done(report(shiftsync.Tally{}), nil)
	if got := w.told(); got[0] != "WARN more shifts were set aside count=30" {
		t.Errorf("got %q", got)
	}
	w.SetAside(1, "no start_time")
	w.Done(report(shiftsync.Tally{}), nil)
	if got := w.told(); len(got) != 2 {
		t.Errorf("the next pass begins to count anew: got %q", got)
	}
}

func TestAStandbySaysSoOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, true, nil)
		const line = "standing by: another worker holds the lease holder=host-1"
		w.Standby(shiftsync.Standing{Holder: "host-1"})
		w.want(t, "at once", line)
		for range 14 {
			<-time.After(4 * time.Second)
			w.Standby(shiftsync.Standing{Holder: "host-1"})
		}
		w.want(t, "not within the minute")
		<-time.After(4 * time.Second)
		w.Standby(shiftsync.Standing{Holder: "host-1"})
		w.want(t, "after a minute", line)
		w.Standby(shiftsync.Standing{Holder: "host-2"})
		w.want(t, "another holder", "standing by: another worker holds the lease holder=host-2")
		w.Acquired(shiftsync.Standing{Open: 4})
		w.want(t, "its turn", "took the lease open_intents=4")
		w.Standby(shiftsync.Standing{Holder: "host-2"})
		w.want(t, "standing by anew", "standing by: another worker holds the lease holder=host-2")
	})
}

func TestAClockThatIsWrongIsWarnedOfOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, true, nil)
		answer := func(ahead time.Duration) {
			w.Asked(wiw.Response{Class: "2xx", Remaining: -1, Date: time.Now().Add(ahead).Truncate(time.Second)})
		}
		w.Asked(wiw.Response{Class: "error", Remaining: -1})
		answer(0)
		answer(20 * time.Second)
		answer(-20 * time.Second)
		w.want(t, "clocks that agree")
		const warning = "WARN this machine's clock differs from the API's, and the window is counted from it: set it (NTP) behind_s="
		answer(time.Hour)
		answer(time.Hour)
		w.want(t, "an hour behind", warning+"3600")
		answer(0)
		w.want(t, "set right", "this machine's clock is right again")
		answer(-30 * 24 * time.Hour)
		w.want(t, "a month ahead", warning+"-2592000")
	})
}

func TestALongPassShowsItsProgressOnATerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, true, nil)
		w.Reading()
		w.Batch(shiftsync.Tally{Fetched: 500, Published: 1})
		if w.seen.Len() > 0 {
			t.Errorf("a young pass shows %q", w.seen)
		}
		<-time.After(3 * time.Second)
		w.Batch(shiftsync.Tally{Fetched: 1500, Published: 2})
		if got, want := w.seen.String(), eraseLine+"2,000 fetched, 3 published, 3 s"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		w.seen.Reset()
		w.Batch(shiftsync.Tally{Fetched: 500})
		if w.seen.Len() > 0 {
			t.Errorf("the line is drawn again at once: %q", w.seen)
		}
		w.observer.log.Info("hello")
		got := w.seen.String()
		if !strings.HasPrefix(got, eraseLine) || !strings.HasSuffix(got, " hello\n2,000 fetched, 3 published, 3 s") {
			t.Errorf("a line of the log is written into the line: %q", got)
		}
		w.seen.Reset()
		w.Done(report(shiftsync.Tally{}), nil)
		if got := w.seen.String(); !strings.HasPrefix(got, eraseLine) || !strings.HasSuffix(got, "next in 10 s\n") {
			t.Errorf("the end of the pass leaves %q", got)
		}
		w.seen.Reset()
		w.Reading()
		<-time.After(3 * time.Second)
		w.Batch(shiftsync.Tally{Fetched: 1})
		if got, want := w.seen.String(), eraseLine+"1 fetched, 0 published, 3 s"; got != want {
			t.Errorf("the next pass: got %q, want %q", got, want)
		}
	})
}

func TestNothingMovesElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, false, env{"LOG_FORMAT": "text"})
		w.Reading()
		<-time.After(time.Hour)
		w.Batch(shiftsync.Tally{Fetched: 500})
		w.Done(report(shiftsync.Tally{}), nil)
		if got := w.seen.String(); strings.ContainsAny(got, "\r\x1b") || strings.Count(got, "\n") != 1 {
			t.Errorf("got %q", got)
		}
	})
}

func TestTheLogIsAsLoudAsAsked(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		var seen bytes.Buffer
		log := newLog(&screen{w: &seen}, loadOK(t, minimal(env{"LOG_LEVEL": "warn", "LOG_FORMAT": format})))
		log.Info("not this")
		log.Warn("this")
		if got := seen.String(); strings.Contains(got, "not this") || !strings.Contains(got, "this") {
			t.Errorf("%s: got %q", format, got)
		}
	}
}

func TestReadableLinesKeepTheirAttributes(t *testing.T) {
	var seen bytes.Buffer
	log := slog.New(newPlainHandler(&seen, slog.LevelDebug))
	log.With("a", 1).WithGroup("g").With("b", "two words").Debug("hello", "c", "line\nend")
	_, got, _ := strings.Cut(seen.String(), " ")
	if want := `DEBUG hello a=1 g.b="two words" g.c="line; end"` + "\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAnEntryOfTheLogIsOneLine(t *testing.T) {
	err := errors.Join(errors.New("publish: no \"leader\""), errors.Join(errors.New("renew: timeout"), errors.New("close")))
	for format, want := range map[string]string{
		"text": `worker ended: publish: no "leader"; renew: timeout; close text="one; two"` + "\n",
		"json": `"msg":"worker ended","err":"publish: no \"leader\"; renew: timeout; close","text":"one; two"}` + "\n",
	} {
		var seen bytes.Buffer
		log := newLog(&screen{w: &seen}, loadOK(t, minimal(env{"LOG_FORMAT": format})))
		log.Info("worker ended", "err", err, "text", "one\r\ntwo\n")
		if got := seen.String(); !strings.HasSuffix(got, want) {
			t.Errorf("%s: got %s, want an end of %s", format, got, want)
		}
	}
}

func TestNumbersAreGrouped(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -999: "-999", -1000: "-1,000"} {
		if got := grouped(n); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
