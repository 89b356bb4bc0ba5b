package cache_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/slotsync/slotsync/cache"
	shiftsync "github.com/slotsync/slotsync/sync"
)

// ids are those from 1 to n.
func ids(n int) (out []int64) {
	for id := range int64(n) {
		out = append(out, id+1)
	}
	return out
}

// What is forgotten is missed if it does not come again, whoever forgot it.
func TestWhatIsForgottenIsAbsent(t *testing.T) {
	second := time.Second
	for claim, forget := range map[string]func(t *testing.T, r *cache.Redis){
		"by a claim": func(t *testing.T, r *cache.Redis) {
			intend(t, r, intent(1, 9, 9), intent(2, 9, 9), intent(3, 9, 9), intent(4, 9, 9), intent(5, 9, 9), intent(6, 9, 9))
			claim(t, r, shiftsync.Term{Owner: worker.Token, Claim: "between"})
			claim(t, r, term)
			remember(t, r, aside(1, 9, 9), aside(2, 9, 9), aside(3, 9, 9), aside(4, 9, 9), aside(5, 9, 9), aside(6, 9, 9)) // refused
		},
		"because the topic was cut": func(t *testing.T, r *cache.Redis) {
			for range 2 { // what is forgotten stays so
				if err := r.Forget(t.Context(), worker); err != nil {
					t.Fatal(err)
				}
			}
		},
		"because the layout is another one": func(t *testing.T, r *cache.Redis) {
			for _, accept := range []bool{false, true} {
				if err := r.Bind(t.Context(), worker, shiftsync.Layout{Partitions: 24}, accept); (err == nil) != accept {
					t.Fatal(err)
				}
			}
		},
	} {
		onEach(t, func(t *testing.T, s *server) {
			r := s.atWork(t)
			if err := r.Bind(t.Context(), worker, shiftsync.Layout{Partitions: 12}, false); err != nil {
				t.Fatal(err)
			}
			timed(t, r, 1, window.Start, window.End)
			timed(t, r, 2, window.Start.Add(-second), window.Start) // ended
			timed(t, r, 3, window.End, window.End.Add(second))      // to begin later
			timed(t, r, 4, window.Start, window.End)                // of the older form
			s.overwrite(t, "shifts", "4", older(1))
			timed(t, r, 5, window.Start, window.End)
			bury(t, r, 5)
			timed(t, r, 6, window.Start, window.End) // seen
			forget(t, r)
			for i, k := range lookup(t, r, 1, 2, 3, 4, 5, 6) {
				if k.Remembered {
					t.Errorf("%s: shift %d is remembered", claim, i+1)
				}
			}
			note(t, r, shiftsync.Note{ID: 4, Finding: shiftsync.Finding{Last: shiftsync.Unclear, Asked: 1}, Wait: time.Hour},
				shiftsync.Note{ID: 5, Finding: shiftsync.Finding{Last: shiftsync.Unclear, Asked: 2}, Wait: time.Hour},
				shiftsync.Note{ID: 2, Finding: shiftsync.Finding{Last: shiftsync.Unclear, Asked: 2}, Wait: time.Hour})
			if err := r.RollCalled(t.Context(), term, window, func(id int64) bool { return id == 6 }); err != nil {
				t.Fatal(err)
			}
			census, got := absent(t, r, 6)
			want := []shiftsync.Absent{
				{ID: 1, Due: true},
				{ID: 4, Finding: shiftsync.Finding{Last: shiftsync.Unclear, Asked: 1}},
				{ID: 5, Ended: true, Finding: shiftsync.Finding{Last: shiftsync.Unclear, Asked: 2}},
			}
			if (census != shiftsync.Census{Expected: 3}) || !slices.Equal(got, want) {
				t.Errorf("%s: counted %+v, got %+v, want %+v", claim, census, got, want)
			}
			if noted := s.client.HLen(t.Context(), s.key("missing")).Val(); noted != 2 {
				t.Errorf("%s: %d notes are left, want 2", claim, noted)
			}
			if _, got := absent(t, r, 5, 6); len(got) != 2 {
				t.Errorf("%s: a deleted one that came back is absent: %+v", claim, got)
			}

			var told []int64 // those that can be published again
			if err := r.Remembered(t.Context(), func(id int64, end time.Time) error {
				told = append(told, id)
				if (id == 1) != end.Equal(window.End) && id != 4 && id != 6 {
					t.Errorf("%s: shift %d ends at %s", claim, id, end)
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if slices.Sort(told); !slices.Equal(told, []int64{1, 2, 3, 4, 6}) {
				t.Errorf("%s: told of %v", claim, told)
			}

			publish(t, r, 1, 3)
			if k := lookup(t, r, 1)[0]; k.Version != version(3) {
				t.Errorf("%s: published again it is %+v", claim, k)
			}
			refresh(t, r, shiftsync.Seen{ID: 4, Fingerprint: version(4).Fingerprint, Raw: 99}) // nothing is known of it to refresh
			s.age(t, "shifts", "4", 101*time.Hour)
			s.sweptLongAgo(t)
			if dropped := sweep(t, r, 100*time.Hour); dropped != 1 {
				t.Errorf("%s: the sweep dropped %d, want the one that was not seen for long", claim, dropped)
			}
		})
	}
}

// Another account would deny the shifts of this one.
func TestOfAnotherAccountNothingIsMissed(t *testing.T) {
	onEach(t, func(t *testing.T, s *server) {
		r := s.atWork(t)
		publish(t, r, 1, 1)
		for _, account := range []int64{77, 78} {
			if err := r.Bind(t.Context(), worker, shiftsync.Layout{Account: account}, true); err != nil {
				t.Fatal(err)
			}
		}
		if census, got := absent(t, r); census.Expected != 0 || len(got) != 0 || len(ends(t, r)) != 0 {
			t.Errorf("counted %+v, got %+v, ends %v", census, got, ends(t, r))
		}
	})
}

// The topic may be cut while as much is remembered as does not fit into one page.
func TestAllPagesAreForgotten(t *testing.T) {
	onEach(t, func(t *testing.T, s *server) {
		r := s.atWork(t)
		const many = 2345
		var intents []shiftsync.Intent
		var settled []shiftsync.Settled
		for _, id := range ids(many) {
			intents, settled = append(intents, intent(id, 1, 1)), append(settled, acknowledged(id, 1, 1))
		}
		intend(t, r, intents...)
		remember(t, r, settled...)
		if err := r.Forget(t.Context(), worker); err != nil {
			t.Fatal(err)
		}
		for _, k := range lookup(t, r, ids(many)...) {
			if k.Remembered {
				t.Fatal("one is remembered still")
			}
		}
		if census, _ := absent(t, r); census.Expected != many {
			t.Errorf("%d of %d are expected", census.Expected, many)
		}
	})
}

// As long as there is something to forget, that is known: the next pass, or worker, begins anew.
func TestAForgettingThatWasCutOffIsSeenAgain(t *testing.T) {
	s := inProcess(t)
	r := s.atWork(t)
	for _, id := range ids(7) {
		publish(t, r, id, 1)
	}
	s.paging(t, "shifts")
	client := s.another(t)
	client.AddHook(&steptimes{stopAfter: 2})
	if err := cache.New(client, s.destination).Forget(t.Context(), worker); !errors.Is(err, errCrash) {
		t.Fatalf("got %v, want the forgetting cut off", err)
	}
	if len(ends(t, r)) == 0 {
		t.Error("nobody knows any more that there is something to forget")
	}
	if k := lookup(t, r, 1, 7); k[0].Remembered || !k[1].Remembered {
		t.Fatalf("it was not cut off in the middle, so the test shows nothing: %+v", k)
	}
	if err := r.Forget(t.Context(), worker); err != nil {
		t.Fatal(err)
	}
	for _, k := range lookup(t, r, ids(7)...) {
		if k.Remembered {
			t.Errorf("one is remembered still: %+v", k)
		}
	}
	if len(ends(t, r)) != 0 {
		t.Errorf("ends are %v", ends(t, r))
	}
}
