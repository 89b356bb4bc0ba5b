package shiftsync_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	shiftsync "github.com/slotsync/slotsync/sync"
)

// A vanishing is a first worker that finds shift 1 deleted, shift 2 moved out of the window and shift 3 edited, and
// meets a fault at one step of that; then what becomes of shift 1, with a pass of a second worker after each change.
type vanishing struct {
	step     int
	fault    fault
	meantime []string // contents of shift 1 one after another
	last     string   // its content in the end
	deliver  int      // late writes arrive before this step of the second worker, or, if negative, at the end
}

func (v vanishing) String() string {
	return fmt.Sprintf("step %d %s, then shift 1 is %v, at last %s, late writes before step %d", v.step, v.fault, v.meantime, v.last, v.deliver)
}

// vanish returns what is wrong in the end, or "". It also returns the steps of the first worker's pass, and whether
// the fault was met.
func vanish(t *testing.T, v vanishing, leaves string) (wrong string, names []string, met bool) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		for _, part := range strings.Fields(leaves) {
			w.leaves[part] = true
		}
		w.deletes, w.share = shiftsync.DeletesTombstone, 1
		w.set(everyShift("A"))
		mustOnce(t, w)
		aMinute()

		w.set(map[int64]string{1: gone, 2: gone, 3: "B"})
		w.outside[2] = moved
		second := &incarnation{world: w, name: "second"}
		second.before = func(n int) {
			if n == v.deliver {
				w.deliver()
			}
		}
		inMeantime := func() {
			for _, content := range v.meantime {
				w.set(map[int64]string{1: content})
				aMinute()
				_, _ = second.worker().RunOnce(t.Context())
			}
		}
		first := &incarnation{world: w, name: "first", plan: func(n int, _ string) fault {
			if n == v.step {
				met = true
				return v.fault
			}
			return ""
		}}
		first.meanwhile = func() {
			<-time.After(13 * time.Second) // its lease runs out
			inMeantime()
		}
		_, _ = first.worker().RunOnce(t.Context())
		if v.fault != paused {
			for _, id := range first.asked {
				if _, listed := w.api[id]; listed {
					wrong = fmt.Sprintf("shift %d is in the window, and was looked for", id)
				}
			}
			inMeantime()
		}
		w.set(map[int64]string{1: v.last})
		last := &incarnation{world: w, name: "last"}
		last.before = second.before
		rest := func() (err error) {
			for range 4 {
				<-time.After(20 * time.Minute) // what was unclear is asked again
				_, err = last.worker().RunOnce(t.Context())
			}
			return err
		}
		_ = rest()
		w.deliver()
		if err := rest(); err != nil {
			wrong = fmt.Sprintf("does not come to rest: %v", err)
		}
		truth := map[int64]string{1: v.last, 2: moved, 3: "B"}
		if v.last == gone {
			truth[1] = tombstone
		}
		for id, want := range truth {
			if got := w.last(id); got != want {
				wrong = fmt.Sprintf("shift %d ends on %q, the truth is %q; topic: %v", id, got, want, w.history(id))
			}
		}
		if len(w.intents) > 0 {
			wrong = fmt.Sprintf("%d intents stay open", len(w.intents))
		}
		names = first.names
	})
	return wrong, names, met
}

// vanishings calls do with each of them, for a first pass of such steps.
func vanishings(steps []string, histories [][]string, do func(vanishing)) {
	for step, name := range steps {
		faults := []fault{crashBefore, crashAfter, lostAnswer, noEffect, paused}
		switch name {
		case "read":
			faults = append(faults, cutShort)
		case "publish":
			faults = append(faults, halfLost, halfLate, allLate, halfUnsent, halfLateCrash, allLateCrash)
		}
		for _, f := range faults {
			for _, h := range histories {
				for _, last := range []string{gone, "A", "B"} {
					delays := []int{-1}
					if slices.Contains([]fault{halfLate, allLate, halfLateCrash, allLateCrash}, f) {
						delays = []int{-1, 3, 5, 6, 7, 9, 12, 16, 20}
					}
					for _, d := range delays {
						do(vanishing{step: step, fault: f, meantime: h, last: last, deliver: d})
					}
				}
			}
		}
	}
}

// vanishingSteps are the steps of the first worker's pass when nothing goes wrong.
func vanishingSteps(t *testing.T) []string {
	wrong, names, _ := vanish(t, vanishing{step: -1, last: gone}, "")
	publishes, asks := 0, 0
	for _, name := range names {
		switch name {
		case "publish":
			publishes++
		case "read one":
			asks++
		}
	}
	if wrong != "" || publishes != 3 || asks != 2 || !slices.Contains(names, "note") {
		t.Fatalf("the pass that is to be cut: %s, steps %v", wrong, names)
	}
	return names
}

func TestDeletionsEndOnTheTruthAtEveryCrashPoint(t *testing.T) {
	steps := vanishingSteps(t)
	runs, unmet := 0, 0
	vanishings(steps, [][]string{nil, {gone}, {"A"}, {"B"}, {"A", gone}, {gone, "A"}, {"A", "B"}, {gone, "B"}}, func(v vanishing) {
		wrong, _, met := vanish(t, v, "")
		if wrong != "" {
			t.Errorf("%s (%s): %s", v, steps[v.step], wrong)
		}
		if !met {
			unmet++
		}
		runs++
	})
	t.Logf("%d scenarios over the steps %v", runs, steps)
	if runs == 0 || unmet > 0 {
		t.Errorf("%d scenarios, of which %d never met their fault", runs, unmet)
	}
}

// Each part of the protocol is needed for deletions too, and so are two of their own: to believe an answer only when it
// is whole, and to ask for each missing shift.
func TestEachPartIsNeededForDeletions(t *testing.T) {
	steps := vanishingSteps(t)
	for _, part := range []string{"no-intent", "no-claim", "drop-payload stubs", "no-fence", "late-remember", "whole-answer", "ask-each"} {
		t.Run(part, func(t *testing.T) {
			var first string
			vanishings(steps, [][]string{nil, {gone}, {"A"}, {"B"}, {"A", gone}}, func(v vanishing) {
				if first != "" {
					return
				}
				if wrong, _, _ := vanish(t, v, part); wrong != "" {
					first = fmt.Sprintf("%s (%s): %s", v, steps[v.step], wrong)
				}
			})
			if first == "" {
				t.Error("without it nothing goes wrong, so nothing here tests it")
			}
			t.Log(first)
		})
	}
}
