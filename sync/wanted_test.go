package shiftsync_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	shiftsync "github.com/slotsync/slotsync/sync"
)

func TestWhatIsWantedIsPublishedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(everyShift("A"))
		w.outside[8] = "X"
		mustOnce(t, w)

		w.want(2, 8)
		rep := mustOnce(t, w)
		if rep.Published != 2 {
			t.Errorf("published %d, want shift 2 and, from outside the window, 8: %+v", rep.Published, rep.Tally)
		}
		if got := w.history(2); !slices.Equal(got, []string{"A", "A"}) {
			t.Errorf("shift 2 has the records %v", got)
		}
		if got := w.last(8); got != "X" {
			t.Errorf("shift 8 ends on %q", got)
		}
		if rep := mustOnce(t, w); rep.Published != 0 || len(w.wanted) != 0 {
			t.Errorf("the pass after that published %d and leaves the wishes %v", rep.Published, w.wanted)
		}
	})
}

func TestAWishInTheMiddleOfAPassIsNotServedByWhatWasOnItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(everyShift("A"))
		w.onSend = func() { w.onSend = nil; w.want(1) } // its record is already written when the wish comes
		mustOnce(t, w)
		mustOnce(t, w)
		if got := w.history(1); !slices.Equal(got, []string{"A", "A"}) {
			t.Errorf("shift 1 has the records %v, want another one that came after the wish", got)
		}
	})
}

func TestAWishInTheMiddleOfAPassIsLeftToTheNextOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(many(50, "A"))
		mustOnce(t, w)
		w.stale = true // so that there is a step behind the lookup
		i := &incarnation{world: w, name: "worker"}
		i.before = func(n int) {
			if n < len(i.names) && i.names[n] == "refresh" { // else it is none that counts
				for id := range int64(50) {
					w.want(id + 1)
				}
			}
		}
		if _, err := i.worker().RunOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := slices.Index(i.names, "read one"); n >= 0 {
			t.Error("shifts that the next pass will see in the window were read one by one")
		}
		if rep := mustOnce(t, w); rep.Published != 50 {
			t.Errorf("the next pass published %d, want all 50", rep.Published)
		}
	})
}

func TestAWishForAnotherAccountsShiftEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(everyShift("A"))
		mustOnce(t, w)
		w.outside[8], w.outside[9] = foreign, "X"
		w.want(8, 9)
		rep := mustOnce(t, w)
		if w.last(8) != "" || w.last(9) != "X" || len(w.wanted) != 0 {
			t.Errorf("records %v of the foreign one, %v of ours; wishes left: %v", w.history(8), w.history(9), w.wanted)
		}
		if len(rep.Notices) != 1 || !strings.Contains(rep.Notices[0], "shift 8") || !strings.Contains(rep.Notices[0], "account") {
			t.Errorf("got the notices %q", rep.Notices)
		}
		w.want(8)
		w.outside[8] = "bad"
		mustOnce(t, w)
		w.want(8) // its flight has ended, or this would wait for ever
		w.outside[8] = "Y"
		if mustOnce(t, w); w.last(8) != "Y" {
			t.Errorf("shift 8 ends on %q", w.last(8))
		}
	})
}

func TestWishesWaitWhileThereIsNoRoom(t *testing.T) {
	for limit, collected := range map[int]bool{3: false, 4: true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			w.set(everyShift("A"))
			w.outside[8] = "X"
			i := &incarnation{world: w, name: "worker"}
			worker := i.worker()
			worker.PendingLimit = limit
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- worker.Run(ctx) }()
			<-time.After(time.Second)
			w.mu.Lock()
			w.away = true
			w.mu.Unlock()
			w.set(everyShift("B"))
			w.want(8)
			<-time.After(25 * time.Second)
			stop()
			<-done
			if _, stands := w.intents[8]; stands != collected || slices.Contains(i.names, "read one") != collected {
				t.Errorf("with room for %d and 3 pending: collected %v, steps %v", limit, stands, i.names)
			}
		})
	}
}

func TestAWishOutlivesTroubleAndEndsWithTheShift(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(everyShift("A"))
		mustOnce(t, w)
		w.want(1, 8, 9)
		w.outside[8], w.outside[9] = "X", "Y"

		fails := &incarnation{world: w, name: "worker", plan: func(_ int, name string) fault {
			if name == "read one" {
				return noEffect
			}
			return ""
		}}
		rep, err := fails.worker().RunOnce(t.Context())
		if err != nil || len(rep.Notices) != 1 || w.last(8) != "" {
			t.Errorf("trouble with one shift: %v, notices %q", err, rep.Notices)
		}
		w.away = true
		if _, _, err := once(t, w); err == nil {
			t.Error("a pass without broker that took nothing over is good")
		}
		w.away = false
		delete(w.outside, 9)
		rep = mustOnce(t, w)
		if w.last(8) != "X" || len(w.wanted) != 0 {
			t.Errorf("shift 8 ends on %q, wishes left: %v", w.last(8), w.wanted)
		}
		if len(rep.Notices) != 1 || !strings.Contains(rep.Notices[0], "shift 9") {
			t.Errorf("a wish for a shift that does not exist gives the notices %q", rep.Notices)
		}
	})
}

func TestWishesAreServedSomeAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(everyShift("A"))
		for id := range int64(70) {
			w.outside[100+id] = "X"
			w.want(100 + id)
		}
		for pass, want := range []int{3 + 30, 30, 10, 0} {
			if rep := mustOnce(t, w); rep.Published != want {
				t.Errorf("pass %d published %d, want %d", pass, rep.Published, want)
			}
		}
	})
}

// Whatever goes wrong where, once all is at rest a record of what was wanted has come after the wish.
func TestNoWishIsLostAtAnyCrashPoint(t *testing.T) {
	faults := []fault{crashBefore, crashAfter, lostAnswer, noEffect, halfLost, halfLate, allLate, halfUnsent}
	scenarios := 0
	for _, f := range faults {
		for wishAt := 0; wishAt < 12; wishAt++ {
			for step := 0; ; step++ {
				met := false
				synctest.Test(t, func(t *testing.T) {
					w := newWorld()
					w.set(everyShift("A"))
					w.outside[8] = "X"
					mustOnce(t, w)
					w.set(map[int64]string{1: "B"})

					before := map[int64]int{} // how many records there were when the wish came
					wish := func() {
						for _, id := range []int64{1, 2, 8} {
							before[id] = len(w.history(id))
						}
						w.want(1, 2, 8)
					}
					first := &incarnation{world: w, name: "first", plan: func(n int, _ string) fault {
						if n == step {
							met = true
							return f
						}
						return ""
					}}
					first.before = func(n int) {
						if n == wishAt {
							wish()
						}
					}
					_, _ = first.worker().RunOnce(t.Context())
					if len(before) == 0 {
						wish()
					}
					late := true
					for range 6 {
						if _, _, err := once(t, w); err == nil && !late {
							break
						}
						if late {
							w.deliver()
							late = false
						}
						<-time.After(13 * time.Second) // a dead worker's lease
					}
					for _, id := range []int64{1, 2, 8} {
						if got := len(w.history(id)); got <= before[id] {
							t.Errorf("%s at step %d, wish at step %d: no record of shift %d after the wish; wishes left: %v", f, step, wishAt, id, w.wanted)
						}
					}
					inStep(t, w)
				})
				scenarios++
				if !met || t.Failed() {
					break
				}
			}
		}
	}
	t.Logf("%d scenarios", scenarios)
}

func TestAPreviewTellsWhatAPassDoesAndWritesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(many(1300, "A"))
		mustOnce(t, w)
		w.set(map[int64]string{1: "B", 2000: "A", 2001: "bad", 3: gone})
		w.say = nil
		before := w.snapshot()

		var told []shiftsync.Plan
		preview := func() shiftsync.Report {
			told = nil
			i := &incarnation{world: w, name: "somebody"}
			rep, err := i.worker().Preview(t.Context(), func(p shiftsync.Plan) error {
				p.Record.Value = slices.Clone(p.Record.Value)
				told = append(told, p)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			return rep
		}
		rep := preview()
		why := map[int64]shiftsync.Why{}
		for _, p := range told {
			why[p.ID] = p.Why
		}
		if len(told) != 3 || why[1] != shiftsync.WhyChanged || why[2000] != shiftsync.WhyNew || why[2001] != shiftsync.WhyAside {
			t.Errorf("told %v", why)
		}
		if p := told[0]; !p.Known.Remembered || p.Known.Partition != partitionOf(1) || string(p.Record.Value) != "B" {
			t.Errorf("of the changed one: %+v", p)
		}
		if after := w.snapshot(); after != before {
			t.Errorf("it wrote:\n%s\nwas\n%s", after, before)
		}
		if pass := mustOnce(t, w); pass.Changed != rep.Changed || pass.Unchanged != rep.Unchanged || pass.SetAside != rep.SetAside || pass.Fetched != rep.Fetched {
			t.Errorf("foretold %+v, the pass did %+v", rep.Tally, pass.Tally)
		}
		if rep := preview(); len(told) != 0 || rep.Unchanged != rep.Fetched-1 || rep.StillAside != 1 {
			t.Errorf("when all is in step, it tells %v and counts %+v", told, rep.Tally)
		}

		w.want(2, 7777)
		if preview(); len(told) != 2 || told[0].ID != 2 || told[0].Why != shiftsync.WhyNew || told[1].ID != 7777 || told[1].Why != shiftsync.WhyWanted {
			t.Errorf("of two wishes, one of them in the window, it tells %+v", told)
		}
		w.outside[7777] = "A"
		mustOnce(t, w)
		w.api[4000] = foreign // among many that are known: a pass compares no accounts then
		if preview(); len(told) != 1 {
			t.Errorf("of one foreign shift among known ones it tells %+v", told)
		}
		delete(w.api, 4000)

		w.schema = 8
		if rep := preview(); rep.SchemaOnly != 1300 || told[0].Why != shiftsync.WhySchema {
			t.Errorf("after a change of schema it counts %+v", rep.Tally)
		}
		w.schema = 7
		w.answer = []int64{1, 1, 1} // the same id twice more, each time newer
		if rep := preview(); rep.Changed != 2 || rep.Unchanged != 1 {
			t.Errorf("of one id three times it counts %+v", rep.Tally)
		}
		w.answer = []int64{5000, 5000}
		w.set(map[int64]string{5000: "A"})
		if preview(); told[0].Why != shiftsync.WhyNew || told[1].Why != shiftsync.WhyChanged {
			t.Errorf("of a new id twice it tells %v, %v", told[0].Why, told[1].Why)
		}
	})
}

func TestAPreviewTellsOfWhatIsPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(everyShift("A"))
		i := &incarnation{world: w, name: "worker", plan: func(_ int, name string) fault {
			if name == "publish" {
				return crashBefore
			}
			return ""
		}}
		_, _ = i.worker().RunOnce(t.Context())
		var told []shiftsync.Why
		rep, err := (&incarnation{world: w, name: "somebody"}).worker().Preview(t.Context(), func(p shiftsync.Plan) error {
			told = append(told, p.Why)
			return nil
		})
		if want := []shiftsync.Why{shiftsync.WhyPending, shiftsync.WhyPending, shiftsync.WhyPending}; err != nil || !slices.Equal(told, want) || rep.Pending != 3 || rep.Unchanged != 3 {
			t.Errorf("told %v, %v; %+v", told, err, rep)
		}
	})
}

func TestAPreviewTellsThatAPassWouldBeRefused(t *testing.T) {
	for _, test := range []struct {
		claim string
		bound shiftsync.Layout
		ends  map[int]int64
		want  string // part of the error or of the notices
		anew  bool
	}{
		{claim: "other partitions", bound: shiftsync.Layout{Partitions: 5}, want: "number of partitions was 5 and is now 2"},
		{claim: "another fixed partition", bound: shiftsync.Layout{Fixed: "0"}, want: "partition that records go to was 0 and is now murmur2"},
		{claim: "another key schema", bound: shiftsync.Layout{KeySchema: 9}, want: "schema id of the key was 9 and is now 1"},
		{claim: "another account", bound: shiftsync.Layout{Account: 12}, want: "account was 12 and is now 77"},
		{claim: "a topic that was cut", ends: map[int]int64{0: 500}, want: "recreated or cut", anew: true},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			w.set(everyShift("A"))
			if test.anew {
				mustOnce(t, w)
			}
			w.layout = test.bound
			if test.ends != nil {
				w.ends = test.ends
			}
			told := 0
			rep, err := (&incarnation{world: w, name: "somebody"}).worker().Preview(t.Context(), func(shiftsync.Plan) error { told++; return nil })
			text := strings.Join(rep.Notices, "; ")
			if err != nil {
				text += err.Error()
			}
			if !strings.Contains(text, test.want) || (err == nil) != test.anew || test.anew && told != len(ids) {
				t.Errorf("%s: got %q, told %d, %v; want %q", test.claim, text, told, err, test.want)
			}
		})
	}
}

func TestAPreviewWeighsBadShiftsAsAPassDoes(t *testing.T) {
	for claim, test := range map[string]struct {
		bad   int
		share float64
		want  string
	}{
		"as many as may be": {bad: 4, share: 0.1},
		"one too many":      {bad: 5, share: 0.1, want: "a pass would be refused: too many bad shifts: 5 of 40"},
		"a single one":      {bad: 1, share: 0.001},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			w.set(many(40, "A"))
			for _, id := range slices.Sorted(maps.Keys(w.api))[:test.bad] {
				w.set(map[int64]string{id: "bad"})
			}
			w.badShare = test.share
			for _, when := range []string{"before", "after"} { // the second time they are set aside already
				rep, err := (&incarnation{world: w, name: "somebody"}).worker().Preview(t.Context(), func(shiftsync.Plan) error { return nil })
				if got := fmt.Sprint(err); (test.want == "") != (err == nil) || test.want != "" && (got != test.want || !errors.Is(err, shiftsync.ErrTooManyBad)) {
					t.Errorf("%s, %s a pass: got %v, want %q", claim, when, err, test.want)
				}
				aside := map[string]int{"before": rep.SetAside, "after": rep.StillAside}[when]
				if rep.Fetched != 40 || aside != test.bad {
					t.Errorf("%s, %s a pass: it counts %+v", claim, when, rep.Tally)
				}
				if _, err := (&incarnation{world: w, name: "worker"}).worker().RunOnce(t.Context()); errors.Is(err, shiftsync.ErrTooManyBad) != (test.want != "") {
					t.Errorf("%s, %s a pass: the pass ended with %v", claim, when, err)
				}
			}
		})
	}
}
