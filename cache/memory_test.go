package cache_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/slotsync/slotsync/cache"
	shiftsync "github.com/slotsync/slotsync/sync"
)

func TestAShiftWithoutAnIDIsKnownByItsBytes(t *testing.T) {
	onEach(t, func(t *testing.T, s *server) {
		r := s.atWork(t)
		publish(t, r, 1, 1)
		remember(t, r, aside(0, 0, 5), aside(2, 0, 5))
		got := look(t, r, []shiftsync.Sighting{
			{Raw: version(5).Raw}, {ID: 1, Raw: version(5).Raw}, {Raw: version(6).Raw}, {ID: 2}, {ID: 3},
		})
		want := []shiftsync.Known{{Aside: version(5).Raw}, known(1), {}, {Aside: version(5).Raw}, {}}
		if !slices.Equal(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if got := look(t, r, []shiftsync.Sighting{{Raw: version(5).Raw}}); got[0] != want[0] {
			t.Errorf("alone it is %+v, want %+v", got[0], want[0])
		}
	})
}

func TestLookupOfNothing(t *testing.T) {
	onEach(t, func(t *testing.T, s *server) {
		r := s.store()
		lookup(t, r)
		if got := lookup(t, r, 1, 0); !slices.Equal(got, make([]shiftsync.Known, 2)) {
			t.Errorf("an empty store knows %+v", got)
		}
		if err := r.Lookup(t.Context(), make([]shiftsync.Sighting, 2), make([]shiftsync.Known, 1)); err == nil {
			t.Error("two sightings fit into one place")
		}
	})
}

func TestAShiftIsStaleAfterHalfOfKeep(t *testing.T) {
	onEach(t, func(t *testing.T, s *server) {
		r := s.atWork(t, cache.Keep(100*time.Hour))
		for id := range int64(3) {
			publish(t, r, id+1, 1)
		}
		s.age(t, "shifts", "1", 51*time.Hour)
		s.age(t, "shifts", "2", 49*time.Hour)
		s.age(t, "shifts", "3", -49*time.Hour) // the clock of Redis was set back
		want := []bool{true, false, false}
		for i, k := range lookup(t, r, 1, 2, 3) {
			if k.Stale != want[i] || !k.Remembered {
				t.Errorf("shift %d: stale is %v, want %v", i+1, k.Stale, want[i])
			}
		}
		refresh(t, r, shiftsync.Seen{ID: 1, Fingerprint: version(1).Fingerprint, Raw: version(1).Raw})
		if got := lookup(t, r, 1)[0]; got != known(1) {
			t.Errorf("after a refresh: %+v, want it fresh and unchanged", got)
		}
		if stale := lookup(t, s.store(), 2)[0].Stale; stale {
			t.Error("49 hours are stale in a week")
		}
	})
}

func TestTimesAreThoseOfRedis(t *testing.T) {
	s := inProcess(t)
	s.mini.SetTime(time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC))
	r := s.atWork(t, cache.Keep(100*time.Hour))
	publish(t, r, 1, 1)
	remember(t, r, aside(2, 0, 1))
	s.mini.SetTime(time.Date(2040, 1, 3, 2, 0, 0, 0, time.UTC))
	if lookup(t, r, 1)[0].Stale {
		t.Error("stale after 50 hours")
	}
	if dropped := sweep(t, r, 100*time.Hour); dropped != 0 {
		t.Errorf("%d dropped after 50 hours", dropped)
	}
	s.mini.SetTime(time.Date(2040, 1, 3, 2, 0, 1, 0, time.UTC))
	if !lookup(t, r, 1)[0].Stale {
		t.Error("not stale after 50 hours and a second")
	}
	s.mini.SetTime(time.Date(2040, 1, 5, 4, 0, 0, 0, time.UTC))
	if dropped := sweep(t, r, 100*time.Hour); dropped != 0 {
		t.Errorf("%d dropped after 100 hours", dropped)
	}
	s.mini.SetTime(time.Date(2040, 1, 5, 17, 0, 0, 0, time.UTC))
	if dropped := sweep(t, r, 100*time.Hour); dropped != 2 {
		t.Errorf("%d dropped after 113 hours, want the shift and the one set aside", dropped)
	}
}

func sweep(tb testing.TB, r *cache.Redis, keep time.Duration) int {
	tb.Helper()
	return must(tb)(r.Sweep(tb.Context(), term, keep, false))
}

func TestSweepDropsWhatWasNotSeen(t *testing.T) {
	const many = 3000 // several pages
	onEach(t, func(t *testing.T, s *server) {
		r := s.atWork(t)
		var intents []shiftsync.Intent
		var settled []shiftsync.Settled
		for id := range int64(many) {
			intents = append(intents, intent(id+1, 1, 1))
			settled = append(settled, acknowledged(id+1, 1, 1))
		}
		intend(t, r, intents...)
		remember(t, r, settled...)
		remember(t, r, aside(many+1, 0, 1), aside(many+2, 0, 1), aside(0, 0, 1))
		intend(t, r, intent(many+3, 1, 1))
		for id := 1; id <= many; id += 2 {
			s.age(t, "shifts", fmt.Sprint(id), 101*time.Hour)
		}
		s.age(t, "shifts", "2", 99*time.Hour)
		s.age(t, "aside", fmt.Sprint(many+1), 101*time.Hour)
		s.overwrite(t, "shifts", "4", func(value []byte) []byte { value[0] = 99; return value })
		s.sweptLongAgo(t)

		if dropped := sweep(t, r, 100*time.Hour); dropped != many/2+1+1 {
			t.Errorf("%d dropped, want %d", dropped, many/2+1+1)
		}
		for i, k := range lookup(t, r, 1, 2, 3, many-1, many, many+1, many+2, many+3) {
			if got, want := k.Remembered, []bool{false, true, false, false, true, false, false, false}[i]; got != want {
				t.Errorf("%d: remembered is %v, want %v", i, got, want)
			}
			if got, want := k.Aside != 0, i == 6; got != want {
				t.Errorf("%d: aside is %v, want %v", i, got, want)
			}
			if got, want := k.Pending, i == 7; got != want {
				t.Errorf("%d: pending is %v, want %v", i, got, want)
			}
		}
		if got := look(t, r, []shiftsync.Sighting{{Raw: version(1).Raw}}); got[0].Aside == 0 {
			t.Error("the shift without an id is not aside any more")
		}
	})
}

func TestASweepIsDueAfterAnEighthOfKeep(t *testing.T) {
	s := inProcess(t)
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	s.mini.SetTime(now)
	r := s.atWork(t)
	tests := []struct {
		name  string
		after time.Duration // since the test before
		keep  time.Duration
		due   bool
	}{
		{"a new store has nothing old", 0, 80 * time.Hour, false},
		{"the first, when an eighth has passed since then", 10 * time.Hour, 80 * time.Hour, true},
		{"the same again", 0, 80 * time.Hour, false},
		{"an eighth has not passed", 10*time.Hour - time.Second, 80 * time.Hour, false},
		{"an eighth has passed", time.Second, 80 * time.Hour, true},
		{"counted from the one before", 9 * time.Hour, 80 * time.Hour, false},
		{"not twice in a minute", -9*time.Hour + 59*time.Second, 2 * time.Minute, false},
		{"again in a minute", time.Second, 2 * time.Minute, true},
		{"the clock was set back", -24 * time.Hour, 80 * time.Hour, true},
	}
	for _, test := range tests {
		now = now.Add(test.after)
		s.mini.SetTime(now)
		publish(t, r, 1, 1)
		s.age(t, "shifts", "1", 1000*time.Hour)
		if got := sweep(t, r, test.keep) == 1; got != test.due {
			t.Errorf("%s: due is %v, want %v", test.name, got, test.due)
		}
	}
	if _, err := r.Sweep(t.Context(), term, 0, true); err == nil {
		t.Error("a sweep that keeps nothing was done")
	}
}
