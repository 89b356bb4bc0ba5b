package shiftsync_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	shiftsync "github.com/slotsync/slotsync/sync"
)

func TestARefusedShiftThatIsThenDeletedGetsATombstone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := looking(t, shiftsync.DeletesTombstone, 20)
		w.refuse["poison"] = "too large"
		w.set(map[int64]string{3: "poison"})
		dying := &incarnation{world: w, name: "dying", plan: func(_ int, name string) fault {
			if name == "publish" {
				return crashBefore
			}
			return ""
		}}
		_, _ = dying.worker().RunOnce(t.Context())
		<-time.After(20 * time.Second)
		mustOnce(t, w) // takes over, which forgets; then it is refused
		if _, remembered := w.shifts[3]; remembered || w.aside[3] == 0 {
			t.Fatalf("shift 3 was not forgotten, so this shows nothing: %v", w.shifts[3])
		}
		w.set(map[int64]string{3: gone})
		aMinute()
		if mustOnce(t, w); w.last(3) != tombstone || len(w.stubs) != 0 {
			t.Errorf("shift 3 ends on %q, forgotten are %v", w.last(3), w.stubs)
		}
	})
}

// cut takes so many of the last records of a shift's partition away, as an unclean election does.
func (w *world) cut(id int64, records int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := partitionOf(id)
	w.log[p] = w.log[p][:max(0, len(w.log[p])-records)]
}

func TestATombstoneThatTheTopicLostComesAgain(t *testing.T) {
	for deletes, want := range map[shiftsync.Deletes]string{shiftsync.DeletesTombstone: tombstone, shiftsync.DeletesUpdate: "A"} {
		synctest.Test(t, func(t *testing.T) {
			w := looking(t, shiftsync.DeletesTombstone, 20)
			w.set(map[int64]string{3: gone, 4: gone, 5: gone, 6: gone})
			mustOnce(t, w)
			w.deletes = deletes
			w.cut(3, 2)
			w.set(map[int64]string{5: "C"}) // and one has come back
			aMinute()
			rep := mustOnce(t, w)
			if deletes == shiftsync.DeletesUpdate && (rep.LookedUp != 0 || rep.Gone != 0) {
				t.Errorf("nobody wants tombstones, and it was asked for: %+v", rep.Tally)
			}
			if got := w.last(3); got != want || w.last(5) != "C" {
				t.Errorf("with %d shift 3 ends on %q, want %q, and shift 5 on %q; %q", deletes, got, want, w.last(5), rep.Notices)
			}
			aMinute()
			if rep := mustOnce(t, w); rep.Published != 0 || rep.LookedUp != 0 {
				t.Errorf("with %d, a minute later: %+v", deletes, rep.Tally)
			}
		})
	}
}

// They were believed once, and so they are no news to the guard; but whoever is missing now is asked for before them.
func TestManyTombstonesThatTheTopicLostComeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := looking(t, shiftsync.DeletesTombstone, 100)
		for id := int64(1); id <= 81; id += 10 {
			for _, id := range from(id, id+9) {
				w.set(map[int64]string{id: gone})
			}
			mustOnce(t, w)
			<-time.After(2 * shiftsync.GuardSpan)
			if w.share < 0.9 {
				w.share += 0.1
			}
		}
		w.share = 0.2
		for p := range partitions {
			w.log[p] = nil
		}
		w.set(map[int64]string{100: gone})
		for n := range 4 {
			rep := mustOnce(t, w)
			if n == 0 && w.last(100) != tombstone {
				t.Errorf("the one that is missing now has to wait: %+v", rep.Tally)
			}
			if rep.LookedUp > shiftsync.WantedBatch {
				t.Errorf("asked for %d in a pass", rep.LookedUp)
			}
			aMinute()
		}
		if n := tombstones(w); n != 91 {
			t.Errorf("%d end on a tombstone, want 91", n)
		}
	})
}

func TestWhoIsMissingIsAskedForBeforeLostTombstones(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := looking(t, shiftsync.DeletesTombstone, 50)
		w.share = 1
		for _, id := range from(1, 20) {
			w.set(map[int64]string{id: gone})
		}
		mustOnce(t, w)
		w.cut(1, 5)
		w.set(map[int64]string{50: gone})
		w.silent[1] = true // which ends the asking
		w.silent[2] = true
		aMinute()
		if rep, asked := askedFor(t, w); len(asked) == 0 || asked[0] != 50 || w.last(50) != tombstone {
			t.Errorf("asked for %v, shift 50 ends on %q: %+v", asked, w.last(50), rep.Tally)
		}
	})
}

func TestAForgottenTombstoneOfWhichNothingIsToldIsAskedForLessAndLess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := looking(t, shiftsync.DeletesTombstone, 20)
		w.set(map[int64]string{3: gone})
		mustOnce(t, w)
		w.cut(3, 1)
		w.hidden[3] = true
		asked := 0
		for range 60 {
			aMinute()
			rep := mustOnce(t, w)
			if asked += rep.LookedUp; rep.Missing != 0 {
				t.Errorf("it is missing: %+v", rep)
			}
		}
		if asked < 3 || asked > 7 {
			t.Errorf("in an hour it was asked for %d times", asked)
		}
		w.hidden[3] = false
		<-time.After(2 * time.Hour)
		if mustOnce(t, w); w.last(3) != tombstone {
			t.Errorf("shift 3 ends on %q", w.last(3))
		}
	})
}

// A forgetting is a first worker that finds shift 1 changed to what the broker refuses, and meets a fault at one step;
// then perhaps the topic is cut, and shift 1 is deleted, before the second worker's pass or after it. That one may meet a
// fault too.
type forgetting struct {
	step     int
	fault    fault
	cut      int // records of the partition that are lost
	early    bool
	then     fault
	thenStep int
}

// forgets returns what is wrong in the end, or "", and the steps of the first worker's pass.
func forgets(t *testing.T, f forgetting, leaves string) (wrong string, names []string) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.leaves[leaves] = true
		w.deletes, w.share, w.buries, w.badShare, w.refuse["poison"] = shiftsync.DeletesTombstone, 1, true, 100, "too large"
		w.set(everyShift("A"))
		w.set(map[int64]string{5: "A"}) // it is deleted at once, and has a tombstone in the partition of shift 1
		mustOnce(t, w)
		aMinute()
		w.set(map[int64]string{5: gone})
		mustOnce(t, w)

		w.set(map[int64]string{1: "poison"})
		at := func(step int, f fault) func(int, string) fault {
			return func(n int, _ string) fault {
				if n == step {
					return f
				}
				return ""
			}
		}
		first := &incarnation{world: w, name: "first", plan: at(f.step, f.fault), meanwhile: func() { <-time.After(13 * time.Second) }}
		_, _ = first.worker().RunOnce(t.Context())
		w.cut(1, f.cut)
		if f.early {
			w.set(map[int64]string{1: gone})
		}
		aMinute()
		second := &incarnation{world: w, name: "second", plan: at(f.thenStep, f.then), meanwhile: first.meanwhile}
		_, _ = second.worker().RunOnce(t.Context())
		w.set(map[int64]string{1: gone})
		for range 4 {
			<-time.After(20 * time.Minute)
			_, _, _ = once(t, w)
		}
		w.deliver()
		if _, _, err := once(t, w); err != nil {
			wrong = fmt.Sprintf("does not come to rest: %v", err)
		}
		for id, want := range map[int64]string{1: tombstone, 2: "A", 3: "A", 5: tombstone} {
			if got := w.last(id); got != want && (got != "" || want != tombstone) {
				wrong = fmt.Sprintf("shift %d ends on %q, the truth is %q; topic: %v", id, got, want, w.history(id))
			}
		}
		if len(w.intents)+len(w.waiting) > 0 {
			wrong = fmt.Sprintf("%d intents and %d letters wait", len(w.intents), len(w.waiting))
		}
		names = first.names
	})
	return wrong, names
}

// forgettings calls do with each of them until it returns false.
func forgettings(steps []string, do func(forgetting) bool) {
	for step := range steps {
		for _, f := range []fault{crashBefore, crashAfter, lostAnswer, noEffect, paused} {
			for cut := range 4 {
				for _, early := range []bool{false, true} {
					if !do(forgetting{step: step, fault: f, cut: cut, early: early, thenStep: -1}) {
						return
					}
				}
			}
		}
	}
	for _, name := range []string{"intend", "publish", "remember"} {
		for thenStep := range takeoverSteps {
			for _, then := range []fault{crashBefore, crashAfter, lostAnswer, noEffect} {
				for _, cut := range []int{0, 2} {
					if !do(forgetting{step: slices.Index(steps, name), fault: crashAfter, cut: cut, then: then, thenStep: thenStep}) {
						return
					}
				}
			}
		}
	}
}

func TestWhatIsForgottenIsStillMissedAtEveryCrashPoint(t *testing.T) {
	wrong, steps := forgets(t, forgetting{step: -1, thenStep: -1}, "")
	if wrong != "" || !slices.Contains(steps, "publish") || !slices.Contains(steps, "delivered") {
		t.Fatalf("the pass that is to be cut: %s, steps %v", wrong, steps)
	}
	runs := 0
	forgettings(steps, func(f forgetting) bool {
		if wrong, _ := forgets(t, f, ""); wrong != "" {
			t.Errorf("%+v (%s): %s", f, steps[f.step], wrong)
		}
		runs++
		return true
	})
	t.Logf("%d scenarios over the steps %v", runs, steps)
	if runs == 0 {
		t.Error("no scenario")
	}
	for _, part := range []string{"stubs"} {
		caught := ""
		forgettings(steps, func(f forgetting) bool {
			caught, _ = forgets(t, f, part)
			return caught == ""
		})
		if caught == "" {
			t.Errorf("without %s nothing goes wrong, so nothing here tests them", part)
		}
		t.Logf("without %s: %s", part, caught)
	}
}
