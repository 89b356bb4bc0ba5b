package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slotsync/slotsync/cmd/mini/world"
	shiftsync "github.com/slotsync/slotsync/sync"
	"github.com/slotsync/slotsync/wiw/wiwtest"
)

func TestRepublish(t *testing.T) {
	w := start(t, world.Options{Shifts: 40})
	if _, code, log := once(t, w, nil); code != 0 {
		t.Fatal(log)
	}
	all := len(truth(w))
	someone := slices.Sorted(maps.Keys(truth(w)))[3]
	outside := shiftsync.Shift{ID: 77_000_001, StartTime: time.Now().AddDate(0, -3, 0), EndTime: time.Now().AddDate(0, -3, 1)}
	for _, s := range truth(w) {
		outside.AccountID = s.AccountID
	}
	w.API.Put(outside, wiwtest.Shape2025)

	for _, c := range []struct {
		claim, what string
		says        string // part of what it prints
		again       []int64
		n           int // shifts that the next pass publishes
	}{
		{claim: "one", what: fmt.Sprint(someone), says: "1 shift to publish again", again: []int64{someone}, n: 1},
		{claim: "one outside the window", what: fmt.Sprint(outside.ID), says: "1 shift to publish again", again: []int64{outside.ID}, n: 1},
		{claim: "one that does not exist", what: "4711", says: "1 shift to publish again", n: 0},
		{claim: "all that are remembered", what: "all", says: fmt.Sprintf("%d shifts to publish again, at least 1 outside the window", all+1), n: all + 1},
		{claim: "none: no shift ends there", what: "1999-01-01..1999-12-31", says: "nothing to do", n: 0},
		{claim: "all by a span", what: "2001-01-01..2100-01-01", says: fmt.Sprintf("%d shifts to publish again", all+1), n: all + 1},
	} {
		before := count(consume(t, w))
		stdout, stderr, code := call(t, w, nil, "--republish", c.what, "--yes")
		if code != 0 || !strings.Contains(stdout, c.says) {
			t.Errorf("%s: status %d\n%s%s", c.claim, code, stdout, stderr)
		}
		rep, code, log := once(t, w, nil)
		if code != 0 || published(rep) != c.n {
			t.Errorf("%s: the next pass published %d, want %d; status %d\n%s", c.claim, published(rep), c.n, code, log)
		}
		after := count(consume(t, w))
		for _, id := range c.again {
			if after[id] != before[id]+1 {
				t.Errorf("%s: shift %d has %d records, had %d", c.claim, id, after[id], before[id])
			}
		}
		if rep, _, _ := once(t, w, nil); published(rep) != 0 {
			t.Errorf("%s: the pass after that published %d again", c.claim, published(rep))
		}
	}
}

func TestWhatIsWantedAgainIsToldUntilItIsPublished(t *testing.T) {
	s := newSite(t)
	s.pass()
	told := func(claim, want string) {
		t.Helper()
		found, _, _ := s.check()
		if got := found["redis_shifts"]; got.Verdict != verdictOK || strings.Contains(got.Seen, "wanted again") != (want != "") || !strings.Contains(got.Seen, want) {
			t.Errorf("%s: got %+v, want %q", claim, got, want)
		}
	}
	told("nobody asked", "")
	all := fmt.Sprintf("%d shifts wanted again", len(truth(s.World)))
	for claim, holder := range map[string]string{"nobody holds the lease": "", "somebody does": "worker-1"} {
		says := "no worker holds the lease now\n"
		if holder != "" {
			s.Redis.HSet("slotsync:{kfake/shifts}:lease", "owner", "x", "name", holder)
			says = "worker-1 holds the lease\n"
		}
		if out, code := s.call("--republish", "all", "--yes"); code != 0 || !strings.Contains(out, "forgotten; "+all+": a pass publishes those in its window") || !strings.HasSuffix(out, says) {
			t.Errorf("%s: got exit %d, %s", claim, code, out)
		}
		told("they are still to come", all)
		s.Redis.Del("slotsync:{kfake/shifts}:lease")
		s.pass()
		told("they were published", "")
	}
}

// count returns how many records each shift has.
func count(records []record) map[int64]int {
	n := map[int64]int{}
	for _, r := range records {
		n[r.id]++
	}
	return n
}

// What the README says of it.
func TestAnUnknownShiftThatIsAskedFor(t *testing.T) {
	const unknown = 4242
	for deletes, want := range map[string]int{"tombstone": 1, "update": 0, "off": 0} {
		w := start(t, world.Options{Shifts: 20})
		settings := env{"SYNC_DELETES": deletes}
		if _, code, log := once(t, w, settings); code != 0 {
			t.Fatal(log)
		}
		if _, stderr, code := call(t, w, settings, "--republish", fmt.Sprint(unknown), "--yes"); code != 0 {
			t.Fatal(stderr)
		}
		for pass, named := range []bool{want == 0, false} { // the wish is over with the first pass
			_, code, log := once(t, w, settings)
			if got := count(consume(t, w))[unknown]; code != 0 || got != want {
				t.Errorf("with %s, pass %d: status %d, %d records of it, want %d\n%s", deletes, pass, code, got, want, log)
			}
			if strings.Contains(log, "shift 4242, which is wanted again, cannot be had") != named {
				t.Errorf("with %s, pass %d: it is named %t, want %t\n%s", deletes, pass, !named, named, log)
			}
		}
	}
	_, text, _ := strings.Cut(readme(t), "### Ask before, ask again")
	text, _, _ = strings.Cut(text, "\n### ")
	for _, part := range []string{"with `SYNC_DELETES=tombstone` one that When I Work does not know gets a tombstone", "named in the log and dropped"} {
		if !strings.Contains(strings.ReplaceAll(text, "\n", " "), part) {
			t.Errorf("the README does not say %q", part)
		}
	}
}

func TestRepublishAsksFirst(t *testing.T) {
	for answer, sure := range map[string]bool{"y\n": true, "Yes\n": true, "\n": false, "n\n": false, "": false, "yo\n": false} {
		here, person := net.Pipe()
		heard := make(chan string, 1)
		go func() {
			defer person.Close()
			question := make([]byte, len("sure? [y/N] "))
			_, _ = io.ReadFull(person, question)
			heard <- string(question)
			_, _ = io.WriteString(person, answer)
		}()
		got, err := confirmed(t.Context(), here, "sure?")
		if question := <-heard; err != nil || got != sure || question != "sure? [y/N] " {
			t.Errorf("%q: got %v, %v after %q", answer, got, err, question)
		}
	}
}

func TestAQuestionEndsWithTheProgram(t *testing.T) {
	here, person := net.Pipe()
	defer person.Close()
	ctx, interrupt := context.WithCancelCause(t.Context())
	stopped := errors.New("interrupt signal received")
	go func() {
		_, _ = io.ReadFull(person, make([]byte, len("sure? [y/N] ")))
		interrupt(stopped)
		_, _ = io.Copy(io.Discard, person)
	}()
	if sure, err := confirmed(ctx, here, "sure?"); sure || !errors.Is(err, stopped) {
		t.Errorf("got %v, %v", sure, err)
	}
}

func TestSelections(t *testing.T) {
	for what, wrong := range map[string]string{
		"everything":                       "must be all, a comma list of ids",
		"1,x":                              "must be all, a comma list of ids",
		"0":                                "must be all, a comma list of ids",
		"-1":                               "must be all, a comma list of ids",
		"ALL":                              "",
		"2026-11-02..2026-11-01":           "a span that ends after it begins",
		"2026-11-02..":                     "two days like",
		"2026-11-02..2026-11-02":           "",
		"2026-11-02T00:00:00Z..2026-11-02": "",
		" all ":                            "",
		"3, 1,3":                           "",
	} {
		got, err := parseSelection(what, nil)
		if wrong == "" && (err != nil || !got.any()) || wrong != "" && (err == nil || !strings.Contains(err.Error(), wrong)) {
			t.Errorf("%q: got %+v, %v, want %q", what, got, err, wrong)
		}
	}
	if got, _ := parseSelection("3, 1,3", nil); !slices.Equal(got.ids, []int64{1, 3}) {
		t.Errorf("got the ids %v", got.ids)
	}
	if got, _ := parseSelection("2026-11-02..2026-11-02", nil); got.to.Sub(got.from) != 24*time.Hour {
		t.Errorf("a day is %s long", got.to.Sub(got.from))
	}
}
