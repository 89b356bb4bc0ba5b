//go:build linux

package main

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// sent is a record of a pass that says what one of another pass said.
func sent(first, again string) *repeat {
	now := time.Now()
	return &repeat{shift: &shift{}, first: arrival{pass: first, at: now.Add(-time.Minute)}, again: arrival{pass: again, at: now.Add(time.Minute)}}
}

func TestWhatMayBeRepeatedIsWhatWasNotRemembered(t *testing.T) {
	ended := func(result string, published, pending int) *report {
		return &report{Pass: "a", Published: published, Pending: pending, result: result}
	}
	forgotten, adrift, before, takenBack := sent("a", "b"), sent("a", "b"), sent("a", "b"), sent("a", "b")
	forgotten.forgotten, takenBack.changed = true, time.Now().Add(-time.Minute)
	adrift.shift.adrift, before.shift.adrift = marks{time.Now()}, marks{time.Now().Add(-time.Hour)}
	for _, c := range []struct {
		claim   string
		records int // of pass a
		report  *report
		repeats []*repeat
		want    string // in the complaint; empty: there is none
	}{
		{"nothing of a pass that did all", 3, ended("ok", 3, 0), []*repeat{sent("a", "b")}, "sent 3 and remembered 3"},
		{"nothing of a pass that only held something back", 3, ended("pending", 3, 0), []*repeat{sent("a", "b")}, "remembered 3"},
		{"what a pass did not remember", 3, ended("failed", 1, 2), []*repeat{sent("a", "b"), sent("a", "b")}, ""},
		{"no more than that", 3, ended("failed", 2, 1), []*repeat{sent("a", "b"), sent("a", "b")}, "sent 3 and remembered 2"},
		{"nothing within a pass", 3, ended("failed", 0, 3), []*repeat{sent("a", "a")}, "one pass"},
		{"what Redis was made to forget", 3, ended("ok", 3, 0), []*repeat{forgotten}, ""},
		{"what stood when a worker died", 3, nil, []*repeat{adrift}, ""},
		{"nothing else of a dead worker", 3, nil, []*repeat{sent("a", "b")}, "died after it was remembered"},
		{"not what stood when another one had died before", 3, nil, []*repeat{before}, "died after it was remembered"},
		{"what stood, of a pass that did all", 3, ended("ok", 3, 0), []*repeat{adrift}, "remembered 3"},
		{"what was taken back in an outage", 3, ended("pending", 2, 1), []*repeat{takenBack, sent("a", "b")}, ""},
		{"not what was taken back while all was well", 3, ended("ok", 3, 0), []*repeat{takenBack}, "remembered 3"},
		{"acknowledged is what is there", 3, ended("ok", 4, 0), nil, "calls 4 records acknowledged, and 3 are there"},
	} {
		t.Run(c.claim, func(t *testing.T) {
			a := newAccounts()
			for range c.records {
				if err := a.record("a", v(1), nil); err != nil {
					t.Fatal(err)
				}
			}
			if c.report != nil {
				a.ended(c.report)
			}
			var err error
			for _, again := range c.repeats {
				err = errors.Join(err, a.record("b", v(1), again))
			}
			complaint(t, errors.Join(err, a.judge()), c.want)
			if err := a.judge(); c.want == "" && err != nil {
				t.Errorf("got %v when nothing new had come", err)
			}
		})
	}
}

func TestABadVersionHasOneLetter(t *testing.T) {
	for _, c := range []struct {
		claim   string
		report  *report // of the pass of the first one
		again   string  // pass of the second one
		stirred bool
		want    string // in the complaint; empty: there is none
	}{
		{"none comes again after a pass that did all", &report{Pass: "a", result: "ok"}, "b", true, "which had done all"},
		{"none comes again after a pass that only held something back", &report{Pass: "a", result: "pending"}, "b", true, "which had done all"},
		{"one that was not acknowledged", &report{Pass: "a", result: "pending", Unburied: 1}, "b", false, ""},
		{"one of a worker that died", nil, "b", false, ""},
		{"twice in a pass while the brokers have trouble", &report{Pass: "a", result: "ok"}, "a", true, ""},
		{"not twice in a pass while they have none", &report{Pass: "a", result: "ok"}, "a", false, "one pass"},
	} {
		t.Run(c.claim, func(t *testing.T) {
			a := newAccounts()
			if c.report != nil {
				a.ended(c.report)
			}
			if c.stirred {
				a.stir(span{time.Now(), time.Now().Add(time.Hour)})
			}
			a.letter("a", nil)
			a.letter(c.again, sent("a", c.again))
			complaint(t, a.judge(), c.want)
		})
	}
}

func complaint(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("got %v, want no complaint", err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("got %v, want a complaint with %q", err, want)
	}
}
