package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	shiftsync "github.com/slotsync/slotsync/sync"
)

func TestTroubleThatLastsIsSaidNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, true, nil)
		fail := func(attempts int) {
			w.Done(report(shiftsync.Tally{}), fmt.Errorf("hmget shifts: gave up after %d attempts", attempts))
		}
		fail(4)
		if got := w.told(); len(got) != 1 || !strings.Contains(got[0], "gave up after 4") {
			t.Errorf("at first: got %q", got)
		}
		for i := range 29 {
			<-time.After(10 * time.Second)
			fail(i)
		}
		if got := w.told(); len(got) != 0 {
			t.Errorf("for five minutes: got %q", got)
		}
		<-time.After(10 * time.Second)
		fail(7)
		if got := w.told(); len(got) != 1 || !strings.HasSuffix(got[0], "repeats=29") {
			t.Errorf("after five minutes: got %q", got)
		}
		w.Done(report(shiftsync.Tally{}), errRedis)
		if got := w.told(); len(got) != 1 || !strings.Contains(got[0], "connection refused") {
			t.Errorf("another one: got %q", got)
		}
		w.Done(report(shiftsync.Tally{}), nil)
		if got := w.told(); len(got) != 2 || got[0] != "trouble is over passes_in_trouble=32" {
			t.Errorf("the end: got %q", got)
		}
		w.Done(report(shiftsync.Tally{}), errRedis)
		if got := w.told(); len(got) != 1 {
			t.Errorf("the same trouble anew: got %q", got)
		}
	})
}

func TestAPassThatPublishesIsSaidThoughItsTroubleIsNotNew(t *testing.T) {
	w := watch(t, true, nil)
	for range 2 {
		w.Done(report(shiftsync.Tally{Published: 3}), shiftsync.ErrPending)
	}
	if got := w.told(); len(got) != 2 {
		t.Errorf("got %q, want both", got)
	}
}

// An outage of Kafka ends in its own time limit in one pass, and in that of the step around it in the next.
func TestAnOutageWithTwoTextsIsSaidTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, true, nil)
		fail := func(cause cause, text string) {
			w.Done(shiftsync.Report{}, met(cause, errors.New(text)))
		}
		for range 10 {
			fail(causeKafka, "look at topic: i/o timeout")
			<-time.After(10 * time.Second)
			fail(causeKafka, "look at topic: context deadline exceeded")
			<-time.After(10 * time.Second)
		}
		if got := w.told(); len(got) != 2 {
			t.Errorf("got %d lines, want one of each text:\n%s", len(got), strings.Join(got, "\n"))
		}
		fail(causeRedis, "acquire lease: i/o timeout")
		if got := w.told(); len(got) != 1 {
			t.Errorf("other trouble: got %q, want a line", got)
		}
		for _, token := range []string{"ab", "cd", "ef", "gh"} {
			fail(causeKafka, "request "+token+" failed")
		}
		if got := w.told(); len(got) != repeatTexts-2 {
			t.Errorf("texts without an end: got %q, want %d of them", got, repeatTexts-2)
		}
		<-time.After(repeatEvery)
		fail(causeKafka, "look at topic: i/o timeout")
		if got := w.told(); len(got) != 1 || !strings.HasSuffix(got[0], "repeats=21") {
			t.Errorf("after five minutes: got %q, want a line with how many were held back", got)
		}
	})
}
