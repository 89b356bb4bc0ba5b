package cache_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/slotsync/slotsync/cache"
	shiftsync "github.com/slotsync/slotsync/sync"
)

// window is one that version(1) of any shift overlaps.
var window = shiftsync.Window{Start: time.Unix(1_599_999_000, 0).UTC(), End: time.Unix(1_600_100_000, 0).UTC()}

// timed publishes a shift with these times.
func timed(tb testing.TB, r *cache.Redis, id int64, start, end time.Time) {
	tb.Helper()
	in, done := intent(id, uint64(id), 1), acknowledged(id, uint64(id), 1)
	in.StartTime, in.EndTime = start, end
	done.Version = in.Version
	intend(tb, r, in)
	remember(tb, r, done)
}

// bury publishes a tombstone.
func bury(tb testing.TB, r *cache.Redis, id int64) {
	tb.Helper()
	in := intent(id, 1000, 1)
	in.Value, in.Version = nil, shiftsync.Version{Fingerprint: shiftsync.FingerprintOf(nil), Schema: 9, StartTime: window.Start, EndTime: window.End}
	intend(tb, r, in)
	remember(tb, r, shiftsync.Settled{ID: id, Mark: 1000, Version: in.Version, Partition: 3, Offset: 7})
}

func absent(tb testing.TB, r *cache.Redis, seen ...int64) (census shiftsync.Census, out []shiftsync.Absent) {
	tb.Helper()
	census, err := r.Absent(tb.Context(), window, func(id int64) bool { return slices.Contains(seen, id) },
		func(a shiftsync.Absent) { out = append(out, a) })
	if err != nil {
		tb.Fatal(err)
	}
	slices.SortFunc(out, func(a, b shiftsync.Absent) int { return int(a.ID - b.ID) })
	return census, out
}

func note(tb testing.TB, r *cache.Redis, notes ...shiftsync.Note) {
	tb.Helper()
	if err := r.Note(tb.Context(), term, notes); err != nil {
		tb.Fatal(err)
	}
}

func TestWhoShouldBeThereAndIsNotIsAbsent(t *testing.T) {
	onEach(t, func(t *testing.T, s *server) {
		r := s.atWork(t)
		second := time.Second
		timed(t, r, 1, window.Start.Add(-second), window.Start)             // ended
		timed(t, r, 2, window.Start.Add(-second), window.Start.Add(second)) // about to end
		timed(t, r, 3, window.End.Add(-second), window.End.Add(second))     // about to begin
		timed(t, r, 4, window.End, window.End.Add(second))                  // to begin later
		timed(t, r, 5, window.Start, window.End)                            // seen
		timed(t, r, 6, window.Start, window.End)                            // a newer version is on its way
		intend(t, r, intent(6, 60, 2))
		timed(t, r, 7, window.Start, window.End) // gone, and a tombstone says so
		bury(t, r, 7)
		timed(t, r, 8, time.Time{}, window.End.Add(second)) // it is not known when it begins
		intend(t, r, intent(9, 90, 1))                      // never acknowledged

		census, got := absent(t, r, 5, 99)
		want := []shiftsync.Absent{{ID: 2, Due: true}, {ID: 3, Due: true}, {ID: 8, Due: true}}
		if (census != shiftsync.Census{Expected: 5, Ended: 1}) || !slices.Equal(got, want) {
			t.Errorf("counted %+v, got %+v, want %+v", census, got, want)
		}
	})
}

func TestManyAreComparedPageByPage(t *testing.T) {
	onEach(t, func(t *testing.T, s *server) {
		r := s.atWork(t)
		const many = 2345
		var intents []shiftsync.Intent
		var settled []shiftsync.Settled
		for id := range int64(many) {
			intents, settled = append(intents, intent(id+1, 1, 1)), append(settled, acknowledged(id+1, 1, 1))
		}
		intend(t, r, intents...)
		remember(t, r, settled...)
		told := map[int64]bool{}
		census, err := r.Absent(t.Context(), window, func(id int64) bool { return id%3 != 0 }, func(a shiftsync.Absent) { told[a.ID] = a.Due })
		if err != nil || census.Expected < many || len(told) != many/3 {
			t.Errorf("%d of %d are absent, want %d of %d: %v", len(told), census.Expected, many/3, many, err)
		}
		for id, due := range told {
			if id%3 != 0 || !due {
				t.Fatalf("shift %d is absent, due %v", id, due)
			}
		}
	})
}

func TestANoteSaysWhenToAskAgain(t *testing.T) {
	onEach(t, func(t *testing.T, s *server) {
		r := s.atWork(t)
		for id := range int64(4) {
			publish(t, r, id+1, 1)
		}
		finding := func(last shiftsync.Absence, asked int) shiftsync.Finding {
			return shiftsync.Finding{Last: last, Asked: asked}
		}
		note(t, r,
			shiftsync.Note{ID: 1, Finding: finding(shiftsync.Unlisted, 1), Wait: time.Hour},
			shiftsync.Note{ID: 2, Finding: finding(shiftsync.Gone, 1000), Wait: 24 * time.Hour},
			shiftsync.Note{ID: 3, Finding: finding(shiftsync.Unclear, 2), Wait: 0},
			shiftsync.Note{ID: 4, Finding: finding(shiftsync.Unclear, 2), Wait: time.Hour})
		note(t, r, shiftsync.Note{ID: 4})
		_, got := absent(t, r)
		want := []shiftsync.Absent{
			{ID: 1, Finding: finding(shiftsync.Unlisted, 1)}, {ID: 2, Finding: finding(shiftsync.Gone, 255)},
			{ID: 3, Finding: finding(shiftsync.Unclear, 2), Due: true}, {ID: 4, Due: true},
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %+v\nwant %+v", got, want)
		}
		s.age(t, "missing", "1", time.Hour+time.Second)
		s.age(t, "missing", "2", -72*time.Hour) // the clock of Redis was set back
		if _, got = absent(t, s.store()); !got[0].Due || !got[1].Due {
			t.Errorf("an hour later: %+v", got)
		}
		s.overwrite(t, "missing", "1", func(value []byte) []byte { value[0]++; return value })
		if _, got = absent(t, r); got[0] != (shiftsync.Absent{ID: 1, Due: true}) {
			t.Errorf("a note of an unknown form is read: %+v", got[0])
		}
	})
}

func TestNotesEndWithTheAbsence(t *testing.T) {
	onEach(t, func(t *testing.T, s *server) {
		r := s.atWork(t)
		for id := range int64(3) {
			publish(t, r, id+1, 1)
		}
		publish(t, r, 4, 1)
		bury(t, r, 4)
		timed(t, r, 5, window.End, window.End.Add(time.Hour))
		var notes []shiftsync.Note
		for id := range int64(600) { // 7 and beyond are not remembered
			notes = append(notes, shiftsync.Note{ID: id + 1, Finding: shiftsync.Finding{Last: shiftsync.Unclear}, Wait: time.Hour})
		}
		note(t, r, notes...)
		intend(t, r, intent(3, 77, 2))
		if err := r.RollCalled(t.Context(), term, window, func(id int64) bool { return id == 1 }); err != nil {
			t.Fatal(err)
		}
		left, err := s.client.HKeys(t.Context(), s.key("missing")).Result()
		slices.Sort(left)
		if want := []string{"2", "3"}; err != nil || !slices.Equal(left, want) {
			t.Errorf("notes are left of %v, want of %v: %v", left, want, err)
		}
	})
}

func TestTheRollIsDueAfterAWhile(t *testing.T) {
	onEach(t, func(t *testing.T, s *server) {
		r := s.atWork(t)
		due := func() bool {
			t.Helper()
			is, err := r.RollDue(t.Context(), term, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			return is
		}
		if due() {
			t.Error("it is due where nothing is remembered, and so nobody can be missing")
		}
		publish(t, r, 1, 1)
		if due() {
			t.Error("that nobody was missing does not count as a roll call")
		}
		if err := s.client.Del(t.Context(), s.key("called")).Err(); err != nil {
			t.Fatal(err)
		}
		for range 2 { // to ask changes nothing
			if !due() {
				t.Error("it is not due before it was ever called")
			}
		}
		if err := r.RollCalled(t.Context(), term, window, func(int64) bool { return true }); err != nil {
			t.Fatal(err)
		}
		if due() {
			t.Error("it is due again at once")
		}
		now, err := s.client.Get(t.Context(), s.key("called")).Int64()
		if err != nil {
			t.Fatal(err)
		}
		for at, want := range map[int64]bool{now - 58: false, now - 61: true, now + 1000: true} {
			if err := s.client.Set(t.Context(), s.key("called"), at, 0).Err(); err != nil {
				t.Fatal(err)
			}
			if due() != want {
				t.Errorf("called at %d, %d s from now: due is %v", at, at-now, !want)
			}
		}
	})
}

func TestADoubtIsConfirmedByAnotherPass(t *testing.T) {
	onEach(t, func(t *testing.T, s *server) {
		r := s.atWork(t)
		doubt := func(pass string, want []bool, versions ...uint64) {
			t.Helper()
			var doubted []shiftsync.Doubted
			for i, n := range versions {
				doubted = append(doubted, shiftsync.Doubted{ID: int64(i + 1), Fingerprint: version(n).Fingerprint})
			}
			if got, err := r.Doubt(t.Context(), term, pass, doubted); err != nil || !slices.Equal(got, want) {
				t.Errorf("pass %s of the versions %v: got %v, %v, want %v", pass, versions, got, err, want)
			}
		}
		no, yes := false, true
		doubt("one", []bool{no, no}, 1, 1)
		doubt("one", []bool{no, no}, 1, 1) // a second sighting in the same pass
		doubt("two", []bool{yes, no}, 1, 2)
		doubt("two", []bool{yes, no}, 1, 2)
		doubt("three", []bool{yes, yes}, 1, 2)
		doubt("four", nil)
		publish(t, r, 1, 1)
		doubt("five", []bool{no, yes}, 1, 2)
		if k := lookup(t, r, 1, 2, 3); !k[0].Doubted || !k[1].Doubted || k[2].Doubted {
			t.Errorf("got %+v", k)
		}
		if err := r.Undoubt(t.Context(), shiftsync.Term{Owner: worker.Token, Claim: "older"}, []int64{2}); !errors.Is(err, shiftsync.ErrLeaseLost) {
			t.Errorf("from an older term: %v", err)
		}
		for range 2 { // a repeat changes nothing
			if err := r.Undoubt(t.Context(), term, []int64{2, 3}); err != nil {
				t.Fatal(err)
			}
		}
		if k := lookup(t, r, 1, 2); !k[0].Doubted || k[1].Doubted {
			t.Errorf("after it was seen as it is known: %+v", k)
		}
		doubt("six", []bool{yes, no}, 1, 2)
	})
}

func TestTheSweepDropsOldDoubts(t *testing.T) {
	onEach(t, func(t *testing.T, s *server) {
		r := s.atWork(t)
		doubted := []shiftsync.Doubted{{ID: 1}, {ID: 2}}
		if _, err := r.Doubt(t.Context(), term, "one", doubted); err != nil {
			t.Fatal(err)
		}
		s.age(t, "doubted", "1", 101*time.Hour)
		s.sweptLongAgo(t)
		if dropped := sweep(t, r, 100*time.Hour); dropped != 0 {
			t.Errorf("it says that it dropped %d shifts", dropped)
		}
		if got, err := r.Doubt(t.Context(), term, "two", doubted); err != nil || !slices.Equal(got, []bool{false, true}) {
			t.Errorf("got %v, %v", got, err)
		}
	})
}

func TestATombstoneIsAVersionLikeAnyOther(t *testing.T) {
	onEach(t, func(t *testing.T, s *server) {
		r := s.atWork(t)
		publish(t, r, 1, 1)
		in := intent(1, 5, 1)
		in.Value, in.Version = nil, shiftsync.Version{Fingerprint: shiftsync.FingerprintOf(nil), Schema: 9}
		intend(t, r, in)
		next := shiftsync.Term{Owner: worker.Token, Claim: "claim-2"}
		claim(t, r, next)
		if got := openIntents(t, r)[1]; !reflect.DeepEqual(got, in) || got.Value != nil {
			t.Errorf("taken over is %+v, want %+v", got, in)
		}
		if k := lookup(t, r, 1)[0]; k.Remembered || !k.Intended.Tombstone() {
			t.Errorf("got %+v", k)
		}
		done := shiftsync.Settled{ID: 1, Mark: 5, Version: in.Version, Partition: 3, Offset: 9}
		if _, err := r.Remember(t.Context(), next, []shiftsync.Settled{done}); err != nil {
			t.Fatal(err)
		}
		if k := lookup(t, r, 1)[0]; !k.Remembered || !k.Tombstone() || k.Offset != 9 {
			t.Errorf("got %+v", k)
		}
		told := 0
		if err := r.Remembered(t.Context(), func(int64, time.Time) error { told++; return nil }); err != nil || told != 0 {
			t.Errorf("%d shifts can be published again, %v", told, err)
		}
	})
}

// older rewrites what is remembered of a shift, or an intent, as the first releases wrote it: without the start time,
// which stands at the end of the version.
func older(begin int) func(value []byte) []byte {
	return func(value []byte) []byte {
		end := begin + 36
		value = slices.Delete(value, end, end+4)
		value[0] = 1
		return value
	}
}

func TestWhatAnEarlierReleaseLeftIsRead(t *testing.T) {
	onEach(t, func(t *testing.T, s *server) {
		r := s.atWork(t, cache.Keep(100*time.Hour))
		untimed := func(n uint64) shiftsync.Version {
			v := version(n)
			v.StartTime = time.Time{}
			return v
		}
		for id := range int64(3) {
			publish(t, r, id+1, 1)
			s.overwrite(t, "shifts", fmt.Sprint(id+1), older(1))
		}
		intend(t, r, intent(2, 2, 2), intent(3, 2, 2))
		s.overwrite(t, "intents", "2", older(9))
		s.overwrite(t, "intents", "3", older(9))

		want := shiftsync.Known{Remembered: true, Version: untimed(1), Partition: 3, Offset: 1}
		if got := lookup(t, r, 1)[0]; got != want {
			t.Errorf("remembered: got %+v\nwant %+v", got, want)
		}
		refresh(t, r, shiftsync.Seen{ID: 1, Fingerprint: version(1).Fingerprint, Raw: 99})
		want.Raw = 99
		if got := lookup(t, r, 1)[0]; got != want {
			t.Errorf("refreshed without a start: got %+v\nwant %+v", got, want)
		}
		for _, start := range []time.Time{version(1).StartTime, {}, window.End} { // told once, it stays
			refresh(t, r, shiftsync.Seen{ID: 1, Fingerprint: version(1).Fingerprint, Raw: version(1).Raw, StartTime: start})
			if got := lookup(t, r, 1)[0]; got != known(1) {
				t.Errorf("refreshed with its start: got %+v\nwant %+v", got, known(1))
			}
		}
		if value := s.client.HGet(t.Context(), s.key("shifts"), "1").Val(); len(value) != 61 || value[0] != 2 {
			t.Errorf("refreshed it has the form %d, and %d bytes", value[0], len(value))
		}
		in := intent(2, 2, 2)
		in.StartTime = time.Time{}
		if got := openIntents(t, r)[2]; !reflect.DeepEqual(got, in) {
			t.Errorf("open: got %+v\nwant %+v", got, in)
		}
		if got := lookup(t, r, 2)[0]; !got.Pending || got.Intended != untimed(2) {
			t.Errorf("intended: got %+v", got)
		}
		done := acknowledged(2, 2, 2)
		done.Version = untimed(2)
		if open := remember(t, r, done, aside(3, 2, 2)); open != 0 {
			t.Errorf("%d intents of the earlier release stay open", open)
		}
		if census, got := absent(t, r); census.Expected != 3 || len(got) != 3 {
			t.Errorf("in the window are %d, of which %d are absent", census.Expected, len(got))
		}
		s.age(t, "shifts", "1", 101*time.Hour)
		s.sweptLongAgo(t)
		if dropped := sweep(t, r, 100*time.Hour); dropped != 1 {
			t.Errorf("the sweep dropped %d, want the old one", dropped)
		}
	})
}

// After a way back, what this release wrote is for the older one what is of a later release here.
func TestWhatALaterReleaseLeftIsNotRememberedAndDoesNoHarm(t *testing.T) {
	onEach(t, func(t *testing.T, s *server) {
		r := s.atWork(t)
		for id := range int64(4) {
			publish(t, r, id+1, 1)
			s.overwrite(t, "shifts", fmt.Sprint(id+1), func(value []byte) []byte { return append([]byte{4}, value...) })
		}
		before := s.dump(t)
		refresh(t, r, shiftsync.Seen{ID: 1, Fingerprint: version(1).Fingerprint, Raw: 99, StartTime: window.Start})
		if after := s.dump(t); after != before {
			t.Errorf("it was refreshed:\n%s", after)
		}
		if k := lookup(t, r, 1)[0]; k != (shiftsync.Known{}) {
			t.Errorf("got %+v", k)
		}
		if census, got := absent(t, r); census != (shiftsync.Census{}) || len(got) != 0 {
			t.Errorf("counted %+v, absent %+v", census, got)
		}
		publish(t, r, 1, 1) // it is published again, and then remembered
		if k := lookup(t, r, 1)[0]; k != known(1) {
			t.Errorf("published again: %+v", k)
		}
		intend(t, r, intent(2, 2, 2))
		claim(t, r, shiftsync.Term{Owner: worker.Token, Claim: "claim-2"})
		claim(t, r, term)
		s.sweptLongAgo(t)
		if dropped := sweep(t, r, 100*time.Hour); dropped != 2 { // 2 was forgotten by the claim
			t.Errorf("the sweep dropped %d, want 2", dropped)
		}
	})
}

// The form of what is remembered is a contract with the releases before and after.
func TestTheFormOfAShiftStays(t *testing.T) {
	s := inProcess(t)
	r := s.atWork(t)
	publish(t, r, 1, 1)
	value, err := s.client.HGet(t.Context(), s.key("shifts"), "1").Bytes()
	if err != nil || len(value) != 61 || value[0] != 2 {
		t.Fatalf("it has %d bytes: %x, %v", len(value), value, err)
	}
	v := version(1)
	for _, field := range []struct {
		name string
		at   int
		want time.Time
	}{{"updated at", 29, v.UpdatedAt}, {"end time", 33, v.EndTime}, {"start time", 37, v.StartTime}} {
		if got := int64(binary.BigEndian.Uint32(value[field.at:])); got != field.want.Unix() {
			t.Errorf("%s: got %d, want %d", field.name, got, field.want.Unix())
		}
	}
}

func TestATombstoneCountsAsEndedForAnHour(t *testing.T) {
	s := inProcess(t)
	noon := time.Date(2040, 1, 1, 12, 0, 0, 0, time.UTC)
	s.mini.SetTime(noon)
	r := s.store()
	acquire(t, r, worker)
	claim(t, r, term)
	bury(t, r, 7)
	for _, test := range []struct {
		after time.Duration
		want  int
	}{{0, 1}, {shiftsync.GuardSpan - time.Second, 1}, {shiftsync.GuardSpan, 0}, {-time.Hour, 1}} {
		s.mini.SetTime(noon.Add(test.after))
		if census, _ := absent(t, r); census.Ended != test.want {
			t.Errorf("after %s: %d have ended, want %d", test.after, census.Ended, test.want)
		}
	}
}
