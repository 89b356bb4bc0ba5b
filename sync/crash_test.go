package shiftsync_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// A scenario is a first worker that meets a fault at one step of a pass, a history of the API with passes of a
// second worker, and a write of the first that arrives late.
type scenario struct {
	step     int
	fault    fault
	meantime []string // what the API says one after another, each followed by a pass of another worker
	last     string   // what it says in the end
	deliver  int      // late writes arrive before this step of the second worker, or, if negative, at the end

	then     fault // a fault of the worker that comes after the first, if not empty
	thenStep int
}

// takeoverSteps are those of a pass that takes over, the wait for the lease included: it has no more.
const takeoverSteps = 30

func (s scenario) String() string {
	out := fmt.Sprintf("step %d %s, then %v, at last %s, late writes before step %d", s.step, s.fault, s.meantime, s.last, s.deliver)
	if s.then != "" {
		out += fmt.Sprintf("; the next worker meets, at its step %d, %s", s.thenStep, s.then)
	}
	return out
}

// three shifts on two partitions
var ids = []int64{1, 2, 3}

func everyShift(content string) map[int64]string {
	out := map[int64]string{}
	for _, id := range ids {
		out[id] = content
	}
	return out
}

// play returns what is wrong in the end, or "". It also returns the steps of the first worker's pass, and whether
// the fault was met.
func play(t *testing.T, s scenario, leaves string) (wrong string, names []string, met bool) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.leaves[leaves] = true
		w.set(everyShift("A"))
		if _, err := (&incarnation{world: w, name: "zero"}).worker().RunOnce(t.Context()); err != nil {
			t.Fatal("a pass without a fault: ", err)
		}

		// The first worker sees B, or, when nothing has changed, has only "last seen" to rewrite.
		w.stale = true
		w.set(map[int64]string{1: "B", 2: "B"}) // shift 3 is as it was: that one is refreshed
		if s.fault == paused {
			w.set(map[int64]string{2: "A"}) // and here shift 2 too
		}
		w.spoil()
		second := &incarnation{world: w, name: "second"}
		inMeantime := func() {
			for _, content := range s.meantime {
				w.set(everyShift(content))
				_, _ = second.worker().RunOnce(t.Context())
			}
		}
		first := &incarnation{world: w, name: "first", plan: func(n int, _ string) fault {
			if n == s.step {
				met = true
				return s.fault
			}
			return ""
		}}
		second.plan = func(n int, _ string) fault {
			if n == s.thenStep {
				return s.then
			}
			return ""
		}
		second.meanwhile = func() { <-time.After(13 * time.Second) }
		second.before = func(n int) {
			if n == s.deliver {
				w.deliver()
			}
		}
		first.meanwhile = func() {
			<-time.After(13 * time.Second) // its lease runs out
			inMeantime()
		}
		_, err := first.worker().RunOnce(t.Context())
		if met && s.fault != paused && err == nil && s.fault != lostAnswer && s.fault != noEffect {
			wrong = "the faulty pass reported success"
		}
		if s.fault != paused {
			inMeantime()
		}
		w.set(everyShift(s.last))
		last := &incarnation{world: w, name: "last"}
		last.before = second.before
		rest := func() {
			for range 6 {
				if _, err = last.worker().RunOnce(t.Context()); err == nil {
					return
				}
			}
		}
		rest()
		w.deliver()
		rest()
		if err != nil {
			wrong = fmt.Sprintf("does not come to rest: %v", err)
		}
		for _, id := range ids {
			want := s.last
			if want == gone {
				want = w.newest[id]
			}
			if got := w.last(id); got != want {
				wrong = fmt.Sprintf("shift %d ends on %q, the truth is %q; topic: %v", id, got, want, w.history(id))
			}
		}
		if why := w.buriedWrong(); why != "" && leaves == "" {
			wrong = why
		}
		names = first.names
	})
	return wrong, names, met
}

// scenarios calls do with each of them, for a first pass of so many steps.
func scenarios(steps []string, histories [][]string, do func(scenario)) {
	for step, name := range steps {
		faults := []fault{crashBefore, crashAfter, lostAnswer, noEffect, paused}
		if name == "publish" {
			faults = append(faults, halfLost, halfLate, allLate, halfUnsent, halfLateCrash, allLateCrash)
		}
		for _, f := range faults {
			for _, h := range histories {
				for _, last := range []string{"A", "B", "C", gone} {
					delays := []int{-1}
					if slices.Contains([]fault{halfLate, allLate, halfLateCrash, allLateCrash}, f) {
						for n := range takeoverSteps {
							delays = append(delays, n)
						}
					}
					for _, d := range delays {
						do(scenario{step: step, fault: f, meantime: h, last: last, deliver: d})
					}
				}
			}
		}
	}
}

// firstSteps are the steps of the first worker's pass when nothing goes wrong.
func firstSteps(t *testing.T) []string {
	wrong, names, _ := play(t, scenario{step: -1, last: "B"}, "")
	if wrong != "" || !slices.Contains(names, "publish") || !slices.Contains(names, "refresh") || !slices.Contains(names, "bury") {
		t.Fatalf("the pass that is to be cut: %s, steps %v", wrong, names)
	}
	return names
}

func TestEveryCrashPointEndsOnTheTruth(t *testing.T) {
	steps := firstSteps(t)
	histories := [][]string{nil}
	for _, a := range []string{"A", "B", "C", gone} {
		histories = append(histories, []string{a})
		for _, b := range []string{"A", "B", "C", gone} {
			if a != b {
				histories = append(histories, []string{a, b})
			}
		}
	}
	runs, unmet := map[string]int{}, 0
	scenarios(steps, histories, func(s scenario) {
		wrong, _, met := play(t, s, "")
		if wrong != "" {
			t.Errorf("%s (%s): %s", s, steps[s.step], wrong)
		}
		if !met {
			unmet++
		}
		runs[steps[s.step]]++
	})
	total := 0
	for _, name := range steps {
		total += runs[name]
	}
	t.Logf("%d scenarios over the steps %v: %v", total, steps, runs)
	if total == 0 || unmet > 0 {
		t.Errorf("%d scenarios, of which %d never met their fault", total, unmet)
	}
}

// The worker that takes over is cut in its turn, at each of its steps.
func TestTwoFaultsEndOnTheTruth(t *testing.T) {
	steps := firstSteps(t)
	runs := 0
	for _, name := range []string{"intend", "publish", "remember", "bury"} {
		step := slices.Index(steps, name)
		for _, f := range []fault{crashAfter, lostAnswer, paused, halfLate, allLate, halfUnsent, halfLateCrash} {
			if name != "publish" && f != crashAfter && f != lostAnswer && f != paused {
				continue
			}
			for _, history := range [][]string{{"B"}, {"A"}, {"C"}, {gone}, {"C", "A"}} {
				for _, last := range []string{"A", "B", "C", gone} {
					for thenStep := range takeoverSteps {
						for _, then := range []fault{crashAfter, lostAnswer, paused, halfLate} {
							s := scenario{step: step, fault: f, meantime: history, last: last, deliver: -1, then: then, thenStep: thenStep}
							if wrong, _, _ := play(t, s, ""); wrong != "" {
								t.Errorf("%s (%s): %s", s, name, wrong)
							}
							runs++
						}
					}
				}
			}
		}
	}
	t.Logf("%d scenarios", runs)
	if runs == 0 {
		t.Error("no scenario")
	}
}

// A worker that lives on meets its fault in the second of several passes, and goes on by itself.
func TestAFaultInTheLoopEndsOnTheTruth(t *testing.T) {
	firstPass := len(firstSteps(t)) - 1 // that one begins with another acquire
	runs := 0
	for step := range 12 {
		for _, f := range []fault{lostAnswer, noEffect, halfLost, halfLate, allLate, halfUnsent} {
			for _, history := range [][]string{{"B", "A"}, {"B", gone}, {"B", "C"}, {"B", "A", "B"}, {"B", "A", gone}, {"B", "B"}} {
				for deliver := range 20 {
					if f != halfLate && f != allLate && deliver > 0 {
						continue
					}
					synctest.Test(t, func(t *testing.T) {
						w := newWorld()
						w.set(everyShift("A"))
						w.buries, w.badShare = true, 100
						i := &incarnation{world: w, name: "worker"}
						begin := firstPass + step
						i.plan = func(n int, _ string) fault {
							if n == begin {
								return f
							}
							return ""
						}
						i.before = func(n int) {
							if n == begin+1+deliver {
								w.deliver()
							}
						}
						ctx, cancel := context.WithCancel(t.Context())
						done := make(chan error, 1)
						go func() { done <- i.worker().Run(ctx) }()
						<-time.After(5 * time.Second)
						seen := "A"
						w.spoil()
						for _, content := range history {
							w.set(everyShift(content))
							<-time.After(10 * time.Second)
							if content != gone {
								seen = content
							}
						}
						<-time.After(30 * time.Second)
						w.deliver()
						<-time.After(30 * time.Second)
						cancel()
						if err := <-done; err != nil {
							t.Errorf("stop: %v", err)
						}
						for _, id := range ids {
							want := seen
							if history[len(history)-1] == gone {
								want = w.newest[id] // what the faulty pass could not intend was not seen
							}
							if got := w.last(id); got != want {
								t.Errorf("step %d %s, %v, late writes %d steps later: shift %d ends on %q, the truth is %q; topic: %v",
									step, f, history, deliver, id, got, want, w.history(id))
							}
						}
						if why := w.buriedWrong(); why != "" {
							t.Errorf("step %d %s, %v: %s", step, f, history, why)
						}
						if len(w.intents) > 0 {
							t.Errorf("step %d %s, %v: %d intents stay open", step, f, history, len(w.intents))
						}
					})
					runs++
				}
			}
		}
	}
	t.Logf("%d scenarios", runs)
	if runs == 0 {
		t.Error("no scenario")
	}
}

// Each part of the protocol is needed: without it, one of the same scenarios loses a change.
func TestEachPartOfTheProtocolIsNeeded(t *testing.T) {
	steps := firstSteps(t)
	histories := [][]string{{gone}, {"B"}, {"B", "A"}, {"B", "C"}, {"C", "A"}}
	for _, part := range []string{"no-intent", "no-claim", "drop-payload", "no-fence", "no-lease-check", "late-remember", "free-refresh"} {
		t.Run(part, func(t *testing.T) {
			caught := 0
			var first string
			scenarios(steps, histories, func(s scenario) {
				if caught > 0 {
					return
				}
				if wrong, _, _ := play(t, s, part); wrong != "" {
					caught++
					first = fmt.Sprintf("%s (%s): %s", s, steps[s.step], wrong)
				}
			})
			if caught == 0 {
				t.Errorf("without it nothing goes wrong, so nothing here tests it")
			}
			t.Log(first)
		})
	}
}
