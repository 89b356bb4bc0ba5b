package shiftsync_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	shiftsync "github.com/slotsync/slotsync/sync"
)

// looking returns a world whose workers look for what vanished, with many shifts that were all published.
func looking(t *testing.T, deletes shiftsync.Deletes, n int) *world {
	t.Helper()
	w := newWorld()
	w.deletes, w.share = deletes, 0.2
	w.set(many(n, "A"))
	mustOnce(t, w)
	aMinute()
	return w
}

// aMinute is long enough for the roll to be due again.
func aMinute() { <-time.After(61 * time.Second) }

// askedFor does a pass that must succeed and returns the ids that were read one by one in it.
func askedFor(t *testing.T, w *world) (shiftsync.Report, []int64) {
	t.Helper()
	rep, i, err := once(t, w)
	if err != nil {
		t.Fatal(err)
	}
	return rep, i.asked
}

// take takes shifts out of the answer and leaves them as they are, to be read one by one.
func (w *world) take(content string, ids ...int64) {
	for _, id := range ids {
		w.set(map[int64]string{id: gone})
		w.outside[id] = content
	}
}

func TestADeletedShiftGetsATombstone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := looking(t, shiftsync.DeletesTombstone, 20)
		w.set(map[int64]string{3: gone, 7: gone})
		rep, asked := askedFor(t, w)
		if !slices.Equal(asked, []int64{3, 7}) || rep.LookedUp != 2 || rep.Gone != 2 || rep.Missing != 2 || !rep.Called || !slices.Equal(rep.GoneIDs, asked) {
			t.Errorf("asked for %v, report %+v", asked, rep)
		}
		if got := w.history(3); !slices.Equal(got, []string{"A", tombstone}) || rep.Published != 2 || rep.Pending != 0 {
			t.Errorf("shift 3 has the records %v; published %d", got, rep.Published)
		}
		for range 5 {
			aMinute()
			if rep, asked := askedFor(t, w); len(asked) != 0 || rep.Published != 0 || rep.Missing != 0 {
				t.Errorf("later: asked for %v, %+v", asked, rep)
			}
		}
		if len(w.missing) != 0 {
			t.Errorf("notes are left: %v", w.missing)
		}
		w.schema++ // a tombstone has none
		if rep := mustOnce(t, w); rep.SchemaOnly != 18 || w.last(3) != tombstone {
			t.Errorf("after a change of schema: %+v, shift 3 ends on %q", rep.Tally, w.last(3))
		}
		w.set(map[int64]string{3: "A"})
		if rep := mustOnce(t, w); rep.Published != 1 || w.last(3) != "A" {
			t.Errorf("a shift that came back as it was: published %d, it ends on %q", rep.Published, w.last(3))
		}
	})
}

func TestADeletedShiftIsReportedOnceWhereNoTombstoneIsWanted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := looking(t, shiftsync.DeletesUpdate, 20)
		w.set(map[int64]string{3: gone})
		if rep, _ := askedFor(t, w); rep.Gone != 1 || rep.Published != 0 || !slices.Equal(rep.GoneIDs, []int64{3}) {
			t.Errorf("got %+v", rep)
		}
		again := 0
		for range 20 {
			aMinute()
			rep, asked := askedFor(t, w)
			if rep.Gone != 0 || rep.Missing != 0 || w.last(3) != "A" {
				t.Errorf("later: %+v, shift 3 ends on %q", rep, w.last(3))
			}
			again += len(asked)
		}
		if again == 0 || again > 4 {
			t.Errorf("in 20 minutes it was asked for %d times more", again)
		}
		w.deletes = shiftsync.DeletesTombstone
		aMinute()
		if rep, _ := askedFor(t, w); rep.Published != 1 || w.last(3) != tombstone {
			t.Errorf("once tombstones are wanted: %+v, shift 3 ends on %q", rep, w.last(3))
		}
	})
}

func TestWhatStillExistsIsPublishedIfItChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := looking(t, shiftsync.DeletesTombstone, 40)
		w.take(moved, 3)
		w.take("unpublished", 4)
		w.take("A", 5)
		w.take("bad", 6)
		rep, asked := askedFor(t, w)
		if !slices.Equal(asked, []int64{3, 4, 5, 6}) || rep.Published != 2 || rep.Gone != 0 || rep.SetAside != 1 {
			t.Errorf("asked for %v, %+v", asked, rep)
		}
		for id, want := range map[int64]string{3: moved, 4: "unpublished", 5: "A", 6: "A"} {
			if got := w.last(id); got != want {
				t.Errorf("shift %d ends on %q, want %q", id, got, want)
			}
		}
		if w.missing[4].Last != shiftsync.Unlisted || w.missing[5].Last != shiftsync.Unlisted || w.missing[6].Last != shiftsync.Unclear {
			t.Errorf("got the notes %+v", w.missing)
		}
		aMinute()
		mustOnce(t, w)
		if n, noted := w.missing[3]; noted {
			t.Errorf("of one that is remembered to have left the window it is noted %+v", n)
		}
		w.outside[5] = "edited"
		w.deleteOutside(4)
		for range 10 {
			aMinute()
			mustOnce(t, w)
		}
		if w.last(5) != "edited" || w.last(4) != tombstone {
			t.Errorf("unlisted ones are asked again: 5 ends on %q, 4 on %q", w.last(5), w.last(4))
		}
	})
}

func (w *world) deleteOutside(ids ...int64) {
	for _, id := range ids {
		delete(w.outside, id)
	}
}

func TestWhatIsUnclearIsAskedLessAndLess(t *testing.T) {
	for claim, make := range map[string]func(w *world){
		"not shown":  func(w *world) { w.hidden[3] = true },
		"unlisted":   func(w *world) { w.outside[3] = "A" },
		"no answer":  func(w *world) { w.silent[3] = true },
		"known gone": func(w *world) { w.deletes = shiftsync.DeletesUpdate },
	} {
		synctest.Test(t, func(t *testing.T) {
			w := looking(t, shiftsync.DeletesTombstone, 20)
			w.set(map[int64]string{3: gone})
			make(w)
			var at []time.Duration // between two questions
			last := time.Now()
			for range 400 {
				if _, asked := askedFor(t, w); len(asked) > 0 {
					at = append(at, time.Since(last).Truncate(time.Minute))
					last = time.Now()
				}
				aMinute()
			}
			want := []time.Duration{0, 1, 2, 4, 8, 16, 32, 64, 128}
			if len(at) != len(want) {
				t.Fatalf("%s: asked after %v", claim, at)
			}
			for i := range want {
				if d := at[i] - want[i]*time.Minute; d < 0 || d > 4*time.Minute {
					t.Errorf("%s: asked after %v, want about %v minutes", claim, at, want)
					break
				}
			}
			if w.last(3) != "A" {
				t.Errorf("%s: it ends on %q", claim, w.last(3))
			}
		})
	}
}

func TestAfterDaysOneIsAskedForOnceADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := looking(t, shiftsync.DeletesTombstone, 20)
		w.set(map[int64]string{3: gone})
		w.hidden[3] = true
		var at []time.Time
		for range 24 * 20 {
			if _, asked := askedFor(t, w); len(asked) > 0 {
				at = append(at, time.Now())
			}
			<-time.After(time.Hour)
		}
		for i := range at[max(0, len(at)-10):] {
			if i == 0 {
				continue
			}
			tail := at[len(at)-10:]
			if between := tail[i].Sub(tail[i-1]); between < 24*time.Hour || between > 25*time.Hour+time.Minute {
				t.Errorf("asked for after %s", between)
			}
		}
		if len(at) < 20 {
			t.Errorf("in 20 days it was asked for %d times", len(at))
		}
	})
}

func TestAReportNamesTenThatAreGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := looking(t, shiftsync.DeletesTombstone, 100)
		w.want(91, 92, 93, 94, 95, 96)
		for _, id := range append(from(1, 9), from(91, 96)...) {
			w.set(map[int64]string{id: gone})
		}
		rep := mustOnce(t, w)
		if rep.Gone != 15 || len(rep.GoneIDs) != 10 {
			t.Errorf("of %d that are gone it names %v", rep.Gone, rep.GoneIDs)
		}
	})
}

// twofold tells of each absent shift twice, as a scan may while the server makes room.
type twofold struct{ shiftsync.Store }

func (s twofold) Absent(ctx context.Context, w shiftsync.Window, seen func(int64) bool, tell func(shiftsync.Absent)) (shiftsync.Census, error) {
	return s.Store.Absent(ctx, w, seen, func(a shiftsync.Absent) {
		tell(a)
		tell(a)
	})
}

func TestWhoIsToldTwiceIsAskedForOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := looking(t, shiftsync.DeletesTombstone, 50)
		w.set(map[int64]string{3: gone, 4: gone, 5: gone, 6: gone})
		mustOnce(t, w)
		w.cut(3, 2)
		w.set(map[int64]string{8: gone, 9: gone})
		aMinute()
		i := &incarnation{world: w, name: "worker"}
		worker := i.worker()
		worker.Store = twofold{worker.Store}
		rep, err := worker.RunOnce(t.Context())
		slices.Sort(i.asked)
		if err != nil || !slices.Equal(i.asked, []int64{3, 4, 5, 6, 8, 9}) || rep.Gone != 6 {
			t.Errorf("asked for %v, %+v, %v", i.asked, rep.Tally, err)
		}
	})
}

func TestWhatHasEndedLiesElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := looking(t, shiftsync.DeletesTombstone, 40)
		w.take(over, 3)
		w.take(moved, 4)
		w.take("unlisted", 5)
		mustOnce(t, w)
		for id, want := range map[int64]shiftsync.Absence{3: shiftsync.Elsewhere, 4: shiftsync.Elsewhere, 5: shiftsync.Unlisted} {
			if got := w.missing[id].Last; got != want {
				t.Errorf("shift %d: noted as %d, want %d", id, got, want)
			}
		}
	})
}

func TestAShiftThatIsSeenAgainIsNotMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := looking(t, shiftsync.DeletesTombstone, 20)
		w.take("A", 3)
		mustOnce(t, w)
		w.set(map[int64]string{3: "A"})
		w.deleteOutside(3)
		aMinute()
		if rep, asked := askedFor(t, w); len(asked) != 0 || len(w.missing) != 0 || rep.Missing != 0 {
			t.Errorf("asked for %v, notes %v, %+v", asked, w.missing, rep)
		}
	})
}

func TestTheGuard(t *testing.T) {
	for _, test := range []struct {
		claim   string
		share   float64
		shifts  int
		deleted int
		gone    int
	}{
		{"a few are believed", 0.2, 20, 4, 4},
		{"too many are not", 0.2, 20, 5, 0},
		{"a single one is no accident", 0.2, 2, 1, 1},
		{"two of two are", 0.5, 3, 2, 0},
		{"an empty answer deletes nothing", 0.2, 20, 20, 0},
		{"not even of a single shift", 0.9, 1, 1, 0},
		{"a share of 0 allows a single one", 0, 20, 1, 1},
		{"and no second", 0, 20, 2, 0},
		{"a share of 1 is no guard", 1, 3, 3, 3},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := looking(t, shiftsync.DeletesTombstone, test.shifts)
			w.share = test.share
			for id := range int64(test.deleted) {
				w.set(map[int64]string{id + 1: gone})
			}
			rep, asked := askedFor(t, w)
			tombstones := 0
			for id := range w.shifts {
				if w.last(id) == tombstone {
					tombstones++
				}
			}
			if rep.Gone != test.gone || tombstones != test.gone || rep.Missing != test.deleted || len(asked) != test.deleted {
				t.Errorf("%s: %d gone, %d tombstones, want %d; %d missing, asked for %d", test.claim, rep.Gone, tombstones, test.gone, rep.Missing, len(asked))
			}
			warned := len(rep.Notices) == 1 && strings.Contains(rep.Notices[0], "GONE_SHARE") &&
				strings.Contains(rep.Notices[0], fmt.Sprintf("%d of %d", test.deleted, test.shifts))
			if warned != (test.gone == 0) {
				t.Errorf("%s: notices %q", test.claim, rep.Notices)
			}
		})
	}
}

func TestTheGuardStopsNoUpdates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := looking(t, shiftsync.DeletesTombstone, 4)
		w.take(moved, 1, 2)
		w.set(map[int64]string{3: gone})
		if rep := mustOnce(t, w); rep.Published != 2 || w.last(1) != moved || w.last(3) != "A" {
			t.Errorf("got %+v; shift 1 ends on %q, 3 on %q", rep.Tally, w.last(1), w.last(3))
		}
		aMinute()
		aMinute()
		if rep := mustOnce(t, w); rep.Missing != 1 || rep.Gone != 1 || w.last(3) != tombstone { // of two that are left
			t.Errorf("when the others are found: %+v, shift 3 ends on %q", rep, w.last(3))
		}
	})
}

func TestUnlistedShiftsAreNoneOfTheGuards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := looking(t, shiftsync.DeletesTombstone, 20)
		w.take("A", 1, 2, 3, 4, 5, 6, 7, 8)
		if rep := mustOnce(t, w); rep.Missing != 8 || len(rep.Notices) != 1 {
			t.Errorf("at first: %+v", rep)
		}
		w.set(map[int64]string{9: gone, 10: gone})
		aMinute()
		if rep := mustOnce(t, w); rep.Missing != 2 || rep.Gone != 2 {
			t.Errorf("once they are known: %+v", rep)
		}
		// Though nothing that should be there is missing, an answer without any shift is no proof.
		for id := range w.api {
			w.outside[id] = "A"
		}
		clear(w.api)
		aMinute()
		mustOnce(t, w) // all are unlisted now
		w.deleteOutside(1, 2, 3)
		for range 10 {
			aMinute()
			mustOnce(t, w)
		}
		if w.last(1) != "A" {
			t.Errorf("shift 1 ends on %q", w.last(1))
		}
	})
}

func TestNobodyLooksWhereItIsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := looking(t, shiftsync.DeletesOff, 20)
		w.set(map[int64]string{3: gone})
		rep, i, err := once(t, w)
		if err != nil || rep.Called || rep.Missing != 0 || slices.Contains(i.names, "roll due") || slices.Contains(i.names, "absent") {
			t.Errorf("%v, steps %v, %+v", err, i.names, rep)
		}
	})
}

func TestTheRollIsCalledOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := looking(t, shiftsync.DeletesTombstone, 20)
		calls := 0
		for range 30 { // each of them another process
			if mustOnce(t, w).Called {
				calls++
			}
			<-time.After(10 * time.Second)
		}
		if calls != 5 {
			t.Errorf("in five minutes the roll was called %d times", calls)
		}
	})
}

func TestWhatEndedOrLiesElsewhereCostsNoRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := looking(t, shiftsync.DeletesTombstone, 20)
		w.outside[50] = moved // a year ahead
		w.want(50)
		mustOnce(t, w)
		<-time.After(40 * 24 * time.Hour) // all others end on the first of February
		clear(w.api)
		if rep, asked := askedFor(t, w); len(asked) != 0 || rep.Missing != 0 || len(rep.Notices) != 0 {
			t.Errorf("asked for %v, %+v", asked, rep)
		}
	})
}

func TestRequestsForMissingShiftsAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := looking(t, shiftsync.DeletesTombstone, 500)
		for id := range int64(40) {
			w.set(map[int64]string{id + 1: gone})
		}
		for id := range int64(10) {
			w.outside[1000+id] = moved
			w.want(1000 + id)
		}
		rep, asked := askedFor(t, w)
		if len(asked) != shiftsync.WantedBatch || rep.LookedUp != 20 || rep.Missing != 40 {
			t.Errorf("asked for %d shifts, %d of them missing: %+v", len(asked), rep.LookedUp, rep.Tally)
		}
		aMinute()
		if rep := mustOnce(t, w); rep.LookedUp != 20 || rep.Missing != 20 {
			t.Errorf("a minute later: %+v", rep)
		}
		for id := range int64(40) {
			if w.last(id+1) != tombstone {
				t.Errorf("shift %d ends on %q", id+1, w.last(id+1))
			}
		}
	})
}

// What was found out until then is told all the same.
func TestTheAskingTakesSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := looking(t, shiftsync.DeletesTombstone, 500)
		for id := range int64(25) {
			w.set(map[int64]string{id + 1: gone})
		}
		for id := range int64(5) {
			w.outside[1000+id] = moved
			w.want(1000 + id)
		}
		slowly := func() (asked []int64, took time.Duration) {
			i := &incarnation{world: w, name: "worker"}
			i.before = func(n int) {
				if n < len(i.names) && i.names[n] == "read one" {
					<-time.After(time.Second)
				}
			}
			rep, err := i.worker().RunOnce(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return i.asked, rep.Took
		}
		asked, took := slowly()
		if len(asked) != 10 || took > 11*time.Second || tombstones(w) != 5 || len(w.wanted) != 0 {
			t.Errorf("asked for %d shifts in %s; %d tombstones, wishes left %v", len(asked), took, tombstones(w), w.wanted)
		}
		for range 2 {
			aMinute()
			_, _ = slowly()
		}
		if tombstones(w) != 25 {
			t.Errorf("two minutes later: %d tombstones", tombstones(w))
		}
	})
}

// Those that were never asked for come first, and the many that are asked again and again do not starve them.
func TestTheNewlyMissingComeFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := looking(t, shiftsync.DeletesTombstone, 1000)
		for id := range int64(100) {
			w.hidden[id+1] = true
			w.set(map[int64]string{id + 1: gone})
		}
		for range 4 {
			mustOnce(t, w)
			aMinute()
		}
		w.set(map[int64]string{900: gone})
		if mustOnce(t, w); w.last(900) != tombstone {
			t.Error("it has to wait")
		}
	})
}

// An earlier release did not remember when shifts begin.
func TestAStartThatIsNotKnownIsRememberedOnceTheShiftIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := looking(t, shiftsync.DeletesTombstone, 20)
		for id := range w.shifts {
			r := w.shifts[id]
			r.StartTime = time.Time{}
			w.shifts[id] = r
		}
		for n, encoded := range []int{20, 0} {
			if rep := mustOnce(t, w); rep.Unchanged != 20 || rep.Encoded != encoded || rep.Published != 0 {
				t.Errorf("pass %d: %+v", n+1, rep.Tally)
			}
		}
		for id, r := range w.shifts {
			if r.StartTime.IsZero() {
				t.Errorf("of shift %d it is not remembered", id)
			}
		}
	})
}

// They lie elsewhere, and what is remembered of them cannot say so.
func TestWhatIsElsewhereStarvesNobody(t *testing.T) {
	for claim, make := range map[string]func(w *world){
		"their records are refused": func(w *world) { w.refuse[moved], w.badShare = "too large", 100 },
		"their start is not known": func(w *world) { // as of what an earlier release remembered
			for id := range int64(40) {
				r := w.shifts[id+1]
				r.Fingerprint, r.StartTime = shiftsync.FingerprintOf([]byte(moved)), time.Time{}
				w.shifts[id+1] = r
			}
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := looking(t, shiftsync.DeletesTombstone, 500)
			make(w)
			w.take(moved, from(1, 40)...)
			n := 0
			for range 200 {
				rep, asked := askedFor(t, w)
				if n += len(asked); n > 100 && rep.Missing != 0 {
					t.Fatalf("%s: they are missing: %+v", claim, rep)
				}
				aMinute()
			}
			if n > 40*9 {
				t.Errorf("%s: 40 shifts were asked for %d times in 200 minutes", claim, n)
			}
			w.set(map[int64]string{400: gone})
			if mustOnce(t, w); w.last(400) != tombstone {
				t.Errorf("%s: shift 400 has to wait", claim)
			}
		})
	}
}

func TestTroubleOfTheSourceEndsTheAsking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := looking(t, shiftsync.DeletesTombstone, 30)
		w.set(map[int64]string{3: gone, 4: gone, 5: gone})
		w.silent[4] = true
		rep, asked := askedFor(t, w)
		if !slices.Equal(asked, []int64{3, 4}) || w.last(3) != tombstone || len(rep.Notices) != 1 || !strings.Contains(rep.Notices[0], "shift 4") {
			t.Errorf("asked for %v, shift 3 ends on %q, notices %q", asked, w.last(3), rep.Notices)
		}
		aMinute()
		if mustOnce(t, w); w.last(5) != tombstone {
			t.Error("the one with trouble stands before the others")
		}
	})
}

func TestATombstoneIsCollectedWhileTheBrokerIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := looking(t, shiftsync.DeletesTombstone, 20)
		i := &incarnation{world: w, name: "worker"}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- i.worker().Run(ctx) }()
		<-time.After(15 * time.Second)
		w.mu.Lock()
		w.away = true
		w.mu.Unlock()
		w.set(map[int64]string{3: gone})
		aMinute()
		aMinute()
		w.mu.Lock()
		in, stands := w.intents[3]
		w.away = false
		w.mu.Unlock()
		if !stands || in.Value != nil {
			t.Errorf("an intent stands: %v", stands)
		}
		<-time.After(30 * time.Second)
		stop()
		if err := <-done; err != nil || w.last(3) != tombstone || len(w.intents) != 0 {
			t.Errorf("%v: shift 3 ends on %q, %d intents stand", err, w.last(3), len(w.intents))
		}
	})
}

func TestARefusedTombstoneIsSetAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := looking(t, shiftsync.DeletesTombstone, 20)
		w.refuse[tombstone], w.buries = "values must not be null", true
		w.set(map[int64]string{3: gone})
		tried, reported := 0, 0
		for range 24 * 60 {
			rep, i, err := once(t, w)
			if err != nil || len(w.intents) != 0 {
				t.Fatalf("%v, %+v", err, rep)
			}
			tried += len(i.asides)
			reported += rep.Gone
			aMinute()
		}
		if tried != 1 || reported != 1 || len(w.letters) != 1 {
			t.Errorf("in a day it was tried %d times and reported %d times, with %d letters", tried, reported, len(w.letters))
		}
		delete(w.refuse, tombstone)
		w.schema++
		for range 24 * 60 {
			_, _, _ = once(t, w) // all others are published with the new schema
			aMinute()
		}
		if w.last(3) != tombstone {
			t.Errorf("once something has changed shift 3 ends on %q", w.last(3))
		}
	})
}

func TestNoTombstonePassesTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := looking(t, shiftsync.DeletesTombstone, 40)
		w.set(map[int64]string{3: gone, 4: gone, 5: gone})
		worker := (&incarnation{world: w, name: "worker"}).worker()
		worker.PendingLimit = 2
		rep, err := worker.RunOnce(t.Context())
		if !errors.Is(err, shiftsync.ErrPendingLimit) || rep.NotCollected != 1 || rep.Published != 2 {
			t.Errorf("%v: %+v", err, rep.Tally)
		}
		for range 3 {
			aMinute()
			mustOnce(t, w)
		}
		if w.last(5) != tombstone {
			t.Errorf("shift 5 ends on %q", w.last(5))
		}
	})
}

// Else the end of one could end the other, though its record never arrived.
func TestNoTwoBatchesBearOneMark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := looking(t, shiftsync.DeletesTombstone, 20)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- (&incarnation{world: w, name: "worker"}).worker().Run(ctx) }()
		for _, content := range []string{gone, "A", gone, "B"} {
			w.set(map[int64]string{3: content})
			aMinute()
			aMinute()
		}
		stop()
		<-done
		slices.Sort(w.marks)
		if n := len(w.marks); n < 5 || len(slices.Compact(slices.Clone(w.marks))) != n {
			t.Errorf("%d batches bear the marks %v", n, w.marks)
		}
	})
}

func TestNobodyIsAskedForAtTheLimit(t *testing.T) {
	for limit, asks := range map[int]bool{1: false, 2: true} {
		synctest.Test(t, func(t *testing.T) {
			w := looking(t, shiftsync.DeletesTombstone, 40)
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
			w.set(map[int64]string{1: "B", 2: gone})
			aMinute()
			aMinute()
			stop()
			<-done
			if asked := len(i.asked) > 0; asked != asks {
				t.Errorf("with one pending and room for %d: asked for %v", limit, i.asked)
			}
		})
	}
}

func TestAnotherAccountsShiftIsNotMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := looking(t, shiftsync.DeletesTombstone, 20)
		w.take(foreign, 3)
		rep := mustOnce(t, w)
		if w.last(3) != "A" || rep.LookedUp != 1 || w.missing[3].Last != shiftsync.Unclear {
			t.Errorf("shift 3 ends on %q, noted as %+v: %+v", w.last(3), w.missing[3], rep.Tally)
		}
	})
}

func TestAConfirmedVersionWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(map[int64]string{1: "A@50", 2: "A@50"})
		mustOnce(t, w)
		w.set(map[int64]string{1: "B@40", 2: "B@40"})
		_, _, _ = once(t, w)
		worker := (&incarnation{world: w, name: "worker"}).worker()
		worker.PendingLimit = 1
		rep, err := worker.RunOnce(t.Context())
		if !errors.Is(err, shiftsync.ErrPendingLimit) || rep.NotCollected != 1 || rep.Published != 1 {
			t.Errorf("%v: %+v", err, rep.Tally)
		}
		if mustOnce(t, w); w.last(1) != "B@40" || w.last(2) != "B@40" {
			t.Errorf("shift 1 ends on %q, 2 on %q", w.last(1), w.last(2))
		}
	})
}

func TestAStopEndsTheAsking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := looking(t, shiftsync.DeletesTombstone, 100)
		for id := range int64(10) {
			w.set(map[int64]string{id + 1: gone})
		}
		ctx, stop := context.WithCancel(t.Context())
		i := &incarnation{world: w, name: "worker"}
		i.plan = func(_ int, name string) fault {
			if name == "read one" {
				stop()
				<-time.After(time.Second) // until the pass has heard of it
			}
			return ""
		}
		if _, err := i.worker().RunOnce(ctx); !errors.Is(err, context.Canceled) || len(i.asked) > 2 {
			t.Errorf("%v after %d questions", err, len(i.asked))
		}
	})
}

func TestAWishForADeletedShiftEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := looking(t, shiftsync.DeletesTombstone, 20)
		w.set(map[int64]string{3: gone, 4: gone})
		mustOnce(t, w)
		w.hidden[4] = true
		w.want(3, 4)
		rep := mustOnce(t, w)
		if w.last(3) != tombstone || len(w.wanted) != 0 || rep.Gone != 1 || len(rep.Notices) != 1 {
			t.Errorf("shift 3 ends on %q, wishes left: %v, notices %q", w.last(3), w.wanted, rep.Notices)
		}
	})
}

func TestAPreviewTellsWhoIsMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := looking(t, shiftsync.DeletesTombstone, 100)
		w.set(map[int64]string{3: gone, 4: "A@5"})
		mustOnce(t, w)
		w.set(map[int64]string{8: gone, 9: gone, 4: "B@4"})
		before := w.snapshot()
		var told []string
		i := &incarnation{world: w, name: "somebody"}
		rep, err := i.worker().Preview(t.Context(), func(p shiftsync.Plan) error {
			told = append(told, fmt.Sprint(p.ID, " ", p.Why))
			return nil
		})
		want := []string{fmt.Sprint(4, " ", shiftsync.WhyOlder), fmt.Sprint(8, " ", shiftsync.WhyMissing), fmt.Sprint(9, " ", shiftsync.WhyMissing)}
		if err != nil || !slices.Equal(told, want) || rep.Missing != 2 || rep.HeldBack != 1 || len(i.asked) != 0 {
			t.Errorf("told %v, want %v; %+v, %v", told, want, rep, err)
		}
		if after := w.snapshot(); after != before {
			t.Errorf("it wrote:\n%s\nwas\n%s", after, before)
		}
		told = nil
		w.say = []shiftJSON{{ID: 4, Content: "B@4"}, {ID: 4, Content: "A@5"}} // what was held back decides nothing
		_, err = i.worker().Preview(t.Context(), func(p shiftsync.Plan) error {
			if p.Why != shiftsync.WhyMissing {
				told = append(told, fmt.Sprint(p.ID, " ", p.Why))
			}
			return nil
		})
		if err != nil || !slices.Equal(told, want[:1]) {
			t.Errorf("of an older version and the known one it tells %v, %v", told, err)
		}
		w.say = nil
		clear(w.api)
		if rep, err = i.worker().Preview(t.Context(), func(shiftsync.Plan) error { return nil }); err != nil || len(rep.Notices) != 1 {
			t.Errorf("of an empty answer: %q, %v", rep.Notices, err)
		}
	})
}

func TestAVersionThatIsOlderThanTheKnownOneWaitsForAPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(map[int64]string{1: "A@50", 2: "A@50", 3: "A@50"})
		mustOnce(t, w)

		w.set(map[int64]string{1: "B@40"})
		rep, _, err := once(t, w)
		if !errors.Is(err, shiftsync.ErrPending) || rep.HeldBack != 1 || rep.Changed != 0 || w.last(1) != "A@50" {
			t.Errorf("%v: %+v, shift 1 ends on %q", err, rep.Tally, w.last(1))
		}
		if rep := mustOnce(t, w); rep.Published != 1 || w.last(1) != "B@40" || len(w.doubted) != 0 {
			t.Errorf("the pass after that: %+v, shift 1 ends on %q, doubted %v", rep.Tally, w.last(1), w.doubted)
		}
		w.set(map[int64]string{1: "C@40", 2: "B@50"})
		if mustOnce(t, w); w.last(1) != "C@40" || w.last(2) != "B@50" {
			t.Errorf("a change without a new time has to wait: %q, %q", w.last(1), w.last(2))
		}

		// A glimpse of an old version is gone before it is published.
		w.set(map[int64]string{3: "old@10"})
		_, _, _ = once(t, w)
		w.set(map[int64]string{3: "A@50"})
		mustOnce(t, w)
		if got := w.history(3); !slices.Equal(got, []string{"A@50"}) {
			t.Errorf("shift 3 has the records %v", got)
		}
	})
}

// What is remembered has whole seconds, so that two changes within one cannot be told apart.
func TestOfTwoChangesInASecondNoneIsOlder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(map[int64]string{1: "A@50.9", 2: "A@50.9"})
		mustOnce(t, w)
		w.set(map[int64]string{1: "B@50.1"})
		if rep := mustOnce(t, w); rep.HeldBack != 0 || w.last(1) != "B@50.1" {
			t.Errorf("%+v, shift 1 ends on %q", rep.Tally, w.last(1))
		}
		w.set(map[int64]string{2: "B@49.9"})
		if rep, _, _ := once(t, w); rep.HeldBack != 1 {
			t.Errorf("a second before: %+v", rep.Tally)
		}
	})
}

func TestGlimpsesOfAnOlderVersionConfirmNothing(t *testing.T) {
	for claim, noise := range map[string]int{"in the same bytes": 0, "in others": 1} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			w.set(map[int64]string{1: "A@10", 2: "A@50"})
			mustOnce(t, w)
			w.set(map[int64]string{1: "B@20"})
			mustOnce(t, w)
			for range 3 {
				w.set(map[int64]string{1: "A@10"})
				_, _, _ = once(t, w)
				w.set(map[int64]string{1: "B@20"})
				w.noise += noise
				mustOnce(t, w)
				<-time.After(24 * time.Hour)
			}
			if got := w.history(1); !slices.Equal(got, []string{"A@10", "B@20"}) || len(w.doubted) != 0 {
				t.Errorf("the known version comes %s: records %v, doubted %v", claim, got, w.doubted)
			}
		})
	}
}

func TestASecondSightingInOnePassConfirmsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(map[int64]string{1: "A@50", 2: "A@50"})
		mustOnce(t, w)
		w.say = []shiftJSON{{ID: 1, Content: "B@40"}, {ID: 2, Content: "A@50"}, {ID: 1, Content: "B@40"}}
		if rep, _, err := once(t, w); !errors.Is(err, shiftsync.ErrPending) || w.last(1) != "A@50" || rep.HeldBack != 2 {
			t.Errorf("%v: %+v, shift 1 ends on %q", err, rep.Tally, w.last(1))
		}
		w.schema++ // the window is read twice in the next pass
		w.say = []shiftJSON{{ID: 1, Content: "B2@40"}, {ID: 2, Content: "A@50"}}
		if rep, _, _ := once(t, w); w.last(1) != "A@50" || rep.HeldBack != 1 {
			t.Errorf("%+v, shift 1 ends on %q", rep.Tally, w.last(1))
		}
		// The older one may come first, and must not land behind the newer.
		w.say = []shiftJSON{{ID: 1, Content: "B2@40"}, {ID: 1, Content: "C@60"}, {ID: 2, Content: "A@50"}}
		if mustOnce(t, w); w.last(1) != "C@60" {
			t.Errorf("shift 1 ends on %q; records %v", w.last(1), w.history(1))
		}
	})
}

func TestARestoredSourceIsBelievedInTheSecondPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(many(2345, "A@50"))
		mustOnce(t, w)
		w.set(many(2345, "B@40"))
		rep, i, err := once(t, w)
		if !errors.Is(err, shiftsync.ErrPending) || rep.HeldBack != 2345 || i.largest > 20_000 {
			t.Errorf("%v: %+v, records took up to %d bytes of one buffer", err, rep.Tally, i.largest)
		}
		if rep := mustOnce(t, w); rep.Published != 2345 {
			t.Errorf("the second pass: %+v", rep.Tally)
		}
		inStep(t, w)
	})
}

func TestWhatIsHeldBackArrivesWhateverFails(t *testing.T) {
	scenarios := 0
	for _, f := range []fault{crashBefore, crashAfter, lostAnswer, noEffect, halfLost, halfLate, allLate, halfUnsent} {
		for step := 0; ; step++ {
			met := false
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.set(everyShift("A@50"))
				mustOnce(t, w)
				w.set(map[int64]string{1: "B@40", 2: "B@60"})
				_, _, _ = once(t, w)
				first := &incarnation{world: w, name: "first", plan: func(n int, _ string) fault {
					if n == step {
						met = true
						return f
					}
					return ""
				}}
				_, _ = first.worker().RunOnce(t.Context())
				for range 4 {
					<-time.After(13 * time.Second) // a dead worker's lease
					_, _, _ = once(t, w)
				}
				w.deliver()
				mustOnce(t, w)
				inStep(t, w)
				if t.Failed() {
					t.Logf("%s at step %d", f, step)
				}
			})
			scenarios++
			if !met || t.Failed() {
				break
			}
		}
	}
	t.Logf("%d scenarios", scenarios)
}
