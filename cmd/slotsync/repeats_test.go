package main

import (
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
