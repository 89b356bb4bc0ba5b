package shiftsync_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	shiftsync "github.com/slotsync/slotsync/sync"
)

// tombstones returns how many shifts end on one.
func tombstones(w *world) (n int) {
	for id := range w.shifts {
		if w.last(id) == tombstone {
			n++
		}
	}
	return n
}

// passes does passes, a minute apart, and returns the notices of the last one.
func passes(t *testing.T, w *world, n int) (notices []string) {
	t.Helper()
	for range n {
		notices = mustOnce(t, w).Notices
		aMinute()
	}
	return notices
}

func from(first, last int64) (ids []int64) {
	for id := first; id <= last; id++ {
		ids = append(ids, id)
	}
	return ids
}

func TestTheGuardCountsThoseThatWereUnlistedBefore(t *testing.T) {
	for deleted, want := range map[int64]int{1: 1, 4: 4, 5: 0, 19: 0} {
		synctest.Test(t, func(t *testing.T) {
			w := looking(t, shiftsync.DeletesTombstone, 20)
			w.take("A", from(1, 19)...)
			passes(t, w, 10)
			w.deleteOutside(from(1, deleted)...) // say, our right to see them has changed
			<-time.After(2 * time.Hour)
			rep := mustOnce(t, w)
			if rep.Gone != want || tombstones(w) != want {
				t.Errorf("of %d that are denied %d were declared gone, with %d tombstones; want %d", deleted, rep.Gone, tombstones(w), want)
			}
			if warned := strings.Contains(strings.Join(rep.Notices, ""), "GONE_SHARE"); warned != (want == 0) {
				t.Errorf("notices %q", rep.Notices)
			}
			// Nor do those that were kept back slip through one by one.
			if passes(t, w, 24*60); tombstones(w) != want {
				t.Errorf("a day later %d of %d have a tombstone, want %d", tombstones(w), deleted, want)
			}
		})
	}
}

func TestTheGuardCountsThoseThatWereReportedBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := looking(t, shiftsync.DeletesUpdate, 20)
		for id := int64(1); id <= 15; id += 3 {
			w.set(map[int64]string{id: gone, id + 1: gone, id + 2: gone})
			passes(t, w, 1)
		}
		w.deletes = shiftsync.DeletesTombstone
		if rep := mustOnce(t, w); rep.Gone != 0 || tombstones(w) != 0 || len(rep.Notices) != 1 {
			t.Errorf("once tombstones are wanted: %d declared gone, %d tombstones, notices %q", rep.Gone, tombstones(w), rep.Notices)
		}
	})
}

func TestTheGuardCountsTheTombstonesOfAnHour(t *testing.T) {
	for claim, shares := range map[string]struct {
		share float64
		want  int
	}{"a fifth": {0.2, 4}, "no guard": {1, 15}} {
		synctest.Test(t, func(t *testing.T) {
			w := looking(t, shiftsync.DeletesTombstone, 20)
			w.share = shares.share
			for id := int64(1); id <= 15; id++ { // each of them a single one
				w.set(map[int64]string{id: gone})
				passes(t, w, 1)
			}
			if tombstones(w) != shares.want {
				t.Errorf("%s: %d tombstones in a quarter of an hour, want %d", claim, tombstones(w), shares.want)
			}
		})
	}
}

func TestWhatWasKeptBackForTheHourIsGoneAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := looking(t, shiftsync.DeletesTombstone, 20)
		w.set(map[int64]string{1: gone, 2: gone, 3: gone, 4: gone})
		passes(t, w, 1)
		w.set(map[int64]string{5: gone})
		if notices := passes(t, w, 40); tombstones(w) != 4 || len(notices) != 1 {
			t.Errorf("%d tombstones, notices %q", tombstones(w), notices)
		}
		if passes(t, w, 21); tombstones(w) != 5 {
			t.Errorf("after an hour: %d tombstones", tombstones(w))
		}
	})
}

func TestWhatTheGuardKeptBackIsDueOnceItLetsGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := looking(t, shiftsync.DeletesTombstone, 20)
		for _, id := range from(1, 10) {
			w.set(map[int64]string{id: gone})
		}
		asked := 0
		for range 12 * 60 {
			rep := mustOnce(t, w)
			asked += rep.LookedUp
			aMinute()
		}
		if tombstones(w) != 0 || asked > 10*12 {
			t.Errorf("behind the guard: %d tombstones, asked %d times", tombstones(w), asked)
		}
		w.share = 1
		if mustOnce(t, w); tombstones(w) != 10 {
			t.Errorf("without the guard: %d tombstones", tombstones(w))
		}
	})
}

func TestADeletionIsNotLostBehindAWish(t *testing.T) {
	for deletes, want := range map[shiftsync.Deletes]string{shiftsync.DeletesTombstone: tombstone, shiftsync.DeletesUpdate: "A", shiftsync.DeletesOff: "A"} {
		synctest.Test(t, func(t *testing.T) {
			w := looking(t, deletes, 20)
			w.want(3)
			w.set(map[int64]string{3: gone})
			if rep := mustOnce(t, w); w.last(3) != want || len(w.wanted) != 0 || rep.Pending != 0 {
				t.Errorf("with %d: shift 3 ends on %q, want %q; wishes left: %v", deletes, w.last(3), want, w.wanted)
			}
			if rep := mustOnce(t, w); rep.Published != 0 {
				t.Errorf("with %d: the next pass published %d", deletes, rep.Published)
			}
		})
	}
}

func TestTheGuardHoldsForWishesToo(t *testing.T) {
	for _, test := range []struct {
		claim string
		gone  []int64
		share float64
		want  int
	}{
		{"a single one", from(1, 1), 0, 1},
		{"a few", from(1, 4), 0.2, 4},
		{"too many", from(1, 5), 0.2, 0},
		{"too many without a guard", from(1, 5), 1, 5},
		{"an empty answer", from(1, 20), 0.2, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := looking(t, shiftsync.DeletesTombstone, 20)
			w.share = test.share
			w.want(from(1, 20)...) // all of them are republished
			for _, id := range test.gone {
				w.set(map[int64]string{id: gone})
			}
			passes(t, w, 3)
			tombstones, left := 0, len(test.gone)-test.want
			for _, id := range test.gone {
				if w.last(id) == tombstone {
					tombstones++
				}
			}
			if tombstones != test.want || len(w.wanted) != left {
				t.Errorf("%s: %d tombstones, want %d; %d wishes left, want %d", test.claim, tombstones, test.want, len(w.wanted), left)
			}
		})
	}
}

func TestTheGuardHoldsWhereNoTombstoneIsWanted(t *testing.T) {
	for hidden, want := range map[int64]int{2: 2, 3: 0} { // beside the two that are denied
		synctest.Test(t, func(t *testing.T) {
			w := looking(t, shiftsync.DeletesUpdate, 20)
			for _, id := range from(1, hidden+2) {
				w.set(map[int64]string{id: gone})
				w.hidden[id] = id <= hidden
			}
			if rep := mustOnce(t, w); rep.Gone != want {
				t.Errorf("beside %d that are not shown %d were reported gone, want %d", hidden, rep.Gone, want)
			}
		})
	}
}
