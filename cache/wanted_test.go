package cache_test

import (
	"slices"
	"testing"
	"time"

	"github.com/slotsync/slotsync/cache"
	shiftsync "github.com/slotsync/slotsync/sync"
)

func want(tb testing.TB, r *cache.Redis, ids ...int64) (remembered int) {
	tb.Helper()
	return must(tb)(r.Want(tb.Context(), ids))
}

func wanted(tb testing.TB, r *cache.Redis) []int64 {
	tb.Helper()
	ids, err := r.Wanted(tb.Context(), 100)
	if err != nil {
		tb.Fatal(err)
	}
	slices.Sort(ids)
	return ids
}

func TestWhatIsWantedIsForgottenUntilALaterIntentIsAcknowledged(t *testing.T) {
	onEach(t, func(t *testing.T, s *server) {
		r := s.atWork(t)
		publish(t, r, 1, 1)
		publish(t, r, 2, 1)
		remember(t, r, aside(3, 0, 1))
		intend(t, r, intent(4, 5, 5)) // before the wish

		operator := cache.New(s.another(t), s.destination) // who has no lease
		if n := want(t, operator, 1, 3, 4, 9); n != 1 {
			t.Errorf("%d were remembered, want 1", n)
		}
		if got := lookup(t, r, 1, 2, 3); got[0].Remembered || !got[1].Remembered || got[2].Aside != 0 {
			t.Errorf("after the wish: %+v", got)
		}
		if got, want := wanted(t, r), []int64{1, 3, 9}; !slices.Equal(got, want) {
			t.Errorf("wanted are %v, want %v: the intent of 4 goes out first", got, want)
		}

		remember(t, r, acknowledged(4, 5, 5))
		if got := lookup(t, r, 4)[0]; got.Remembered || got.Pending {
			t.Errorf("an intent from before the wish served it: %+v", got)
		}
		intend(t, r, intent(1, 6, 2), intent(4, 6, 6))
		if got, want := wanted(t, r), []int64{3, 9}; !slices.Equal(got, want) {
			t.Errorf("with intents on their way: wanted are %v, want %v", got, want)
		}
		intend(t, r, intent(4, 7, 7)) // a newer version in its place serves the wish as well
		remember(t, r, acknowledged(1, 6, 2), acknowledged(4, 7, 7), aside(3, 0, 2))
		if got := lookup(t, r, 1, 4); got[0] != known(2) || got[1] != known(7) {
			t.Errorf("after the acknowledgement: %+v", got)
		}
		if got, want := wanted(t, r), []int64{9}; !slices.Equal(got, want) {
			t.Errorf("after the acknowledgement: wanted are %v, want %v", got, want)
		}
		if err := r.Unwant(t.Context(), term, 9); err != nil || len(wanted(t, r)) != 0 {
			t.Errorf("unwanted: %v, %v", wanted(t, r), err)
		}
	})
}

func TestAWishWithAnIntentCannotBeDropped(t *testing.T) {
	onEach(t, func(t *testing.T, s *server) {
		r := s.atWork(t)
		want(t, r, 1)
		intend(t, r, intent(1, 2, 2))
		if err := r.Unwant(t.Context(), term, 1); err != nil {
			t.Fatal(err)
		}
		claim(t, r, shiftsync.Term{Owner: worker.Token, Claim: "claim-2"}) // a takeover keeps it as well
		if got := s.client.HGet(t.Context(), s.key("wanted"), "1").Val(); got == "" {
			t.Error("the wish is gone, or no intent serves it")
		}
	})
}

func TestWhatIsRememberedIsToldPageByPage(t *testing.T) {
	onEach(t, func(t *testing.T, s *server) {
		r := s.atWork(t)
		const many = 1700
		var intents []shiftsync.Intent
		var settled []shiftsync.Settled
		for id := range int64(many) {
			intents = append(intents, intent(id+1, 1, 3))
			settled = append(settled, acknowledged(id+1, 1, 3))
		}
		intend(t, r, intents...)
		remember(t, r, settled...)
		seen := map[int64]time.Time{}
		err := r.Remembered(t.Context(), func(id int64, end time.Time) error {
			seen[id] = end
			return nil
		})
		if err != nil || len(seen) != many || !seen[7].Equal(version(3).EndTime) {
			t.Errorf("told %d shifts, %v; number 7 ends %s, want %s", len(seen), err, seen[7], version(3).EndTime)
		}
		ids := make([]int64, 0, many)
		for id := range seen {
			ids = append(ids, id)
		}
		if n := want(t, r, ids...); n != many {
			t.Errorf("%d were remembered, want %d", n, many)
		}
		got, err := r.Wanted(t.Context(), 30)
		if err != nil || len(got) != 30 {
			t.Errorf("got %d wanted, %v; want 30", len(got), err)
		}
	})
}

func TestTheLayoutCanBeReadWithoutTheLease(t *testing.T) {
	onEach(t, func(t *testing.T, s *server) {
		r := s.atWork(t)
		if got, err := r.Bound(t.Context()); err != nil || got != (shiftsync.Layout{}) {
			t.Errorf("at first: %+v, %v", got, err)
		}
		want := shiftsync.Layout{Partitions: 12, Fixed: "murmur2", KeySchema: 4, Account: 1<<40 + 1}
		if err := r.Bind(t.Context(), worker, want, false); err != nil {
			t.Fatal(err)
		}
		if got, err := cache.New(s.another(t), s.destination).Bound(t.Context()); err != nil || got != want {
			t.Errorf("got %+v, %v; want %+v", got, err, want)
		}
	})
}
