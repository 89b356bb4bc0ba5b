package cache_test

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slotsync/slotsync/cache"
	shiftsync "github.com/slotsync/slotsync/sync"
)

// withLetter is what is set aside, with its letter.
func withLetter(s shiftsync.Settled, l shiftsync.DeadLetter) shiftsync.Settled {
	l.ID, l.Raw = s.ID, s.Raw
	s.Letter = &l
	return s
}

var noon = time.Date(2040, 1, 1, 12, 0, 0, 0, time.UTC)

func waiting(tb testing.TB, r *cache.Redis) (letters []shiftsync.DeadLetter) {
	tb.Helper()
	for cursor := uint64(0); ; {
		page, next, err := r.Letters(tb.Context(), cursor)
		if err != nil {
			tb.Fatal(err)
		}
		letters = append(letters, page...)
		if cursor = next; cursor == 0 {
			break
		}
	}
	slices.SortFunc(letters, func(a, b shiftsync.DeadLetter) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Raw, b.Raw))
	})
	if n, err := r.CountLetters(tb.Context()); err != nil || n < len(letters) {
		tb.Errorf("counted %d of %d letters, %v", n, len(letters), err)
	}
	return letters
}

func TestALetterWaitsUntilItIsDelivered(t *testing.T) {
	onEach(t, func(t *testing.T, s *server) {
		r := s.atWork(t)
		parsed := shiftsync.DeadLetter{Stage: shiftsync.StageParse, Reason: "no start_time", Body: []byte("{\"id\":1}\x00"), Pass: "pass-1", Time: noon}
		refused := shiftsync.DeadLetter{Stage: shiftsync.StagePublish, Reason: "too large", Key: []byte{0, 1}, Body: []byte{0, 2}, Pass: "pass-1", Time: noon}
		gone := shiftsync.DeadLetter{Stage: shiftsync.StagePublish, Reason: "no nulls", Key: []byte{0, 1}}
		intend(t, r, intent(2, 7, 2), intent(3, 7, 3))
		settled := []shiftsync.Settled{
			withLetter(aside(1, 0, 1), parsed), withLetter(aside(0, 0, 5), parsed), withLetter(aside(2, 7, 2), refused), aside(4, 0, 4),
		}
		if open := remember(t, r, settled...); open != 1 {
			t.Errorf("%d intents stand", open)
		}
		remember(t, r, withLetter(aside(1, 0, 9), gone))    // another version of the first
		remember(t, r, withLetter(aside(3, 8, 3), refused)) // an intent that does not stand: nothing becomes of it
		remember(t, r, withLetter(aside(2, 7, 2), gone))    // nor of one that stands no more

		want := []shiftsync.DeadLetter{*settled[1].Letter, *settled[0].Letter, *withLetter(aside(1, 0, 9), gone).Letter, *settled[2].Letter}
		if got := waiting(t, s.store()); !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v\nwant %+v", got, want)
		}
		for range 2 { // a repeat changes nothing
			if err := r.Delivered(t.Context(), term, want[:2]); err != nil {
				t.Fatal(err)
			}
			if got := waiting(t, r); !reflect.DeepEqual(got, want[2:]) {
				t.Errorf("once two are delivered: got %+v", got)
			}
		}
		sweep(t, r, time.Second)
		s.overwrite(t, "letters", fmt.Sprintf("1#%016x", want[2].Raw), func(value []byte) []byte { value[0]++; return value })
		if got := waiting(t, r); !reflect.DeepEqual(got, want[3:]) {
			t.Errorf("one of an unknown form is read: %+v", got)
		}
		if n, err := r.CountLetters(t.Context()); n != 2 || err != nil {
			t.Errorf("%d wait, %v", n, err)
		}
	})
}

func TestALetterThatWasCutOffIsNotRead(t *testing.T) {
	s := inProcess(t)
	r := s.atWork(t)
	remember(t, r, withLetter(aside(1, 0, 1), shiftsync.DeadLetter{Stage: shiftsync.StageParse, Reason: "bad", Key: []byte("k"), Body: []byte("body"), Pass: "p", Time: noon}))
	field := s.client.HKeys(t.Context(), s.key("letters")).Val()[0]
	for size := len(s.client.HGet(t.Context(), s.key("letters"), field).Val()) - 1; size > 0; size-- {
		s.overwrite(t, "letters", field, func(value []byte) []byte { return value[:size] })
		if got := waiting(t, r); len(got) != 0 {
			t.Fatalf("of %d bytes it reads %+v", size, got)
		}
	}
}

func TestManyLettersComePageByPage(t *testing.T) {
	onEach(t, func(t *testing.T, s *server) {
		r := s.atWork(t)
		const many = 2345
		var settled []shiftsync.Settled
		for id := range int64(many) {
			settled = append(settled, withLetter(aside(id+1, 0, uint64(id+1)), shiftsync.DeadLetter{Stage: shiftsync.StageParse, Body: []byte(strings.Repeat("x", 100))}))
		}
		remember(t, r, settled...)
		got := waiting(t, r)
		if got = slices.CompactFunc(got, func(a, b shiftsync.DeadLetter) bool { return a.ID == b.ID }); len(got) != many {
			t.Errorf("got %d letters, want %d", len(got), many)
		}
	})
}

// A small hash comes as one page, and a server may be told to take many shifts for few.
func TestAsManyLettersAsComeAtOnceAreDelivered(t *testing.T) {
	onEach(t, func(t *testing.T, s *server) {
		r := s.atWork(t)
		const many = 9000
		for first := 1; first <= many; first += 500 {
			var settled []shiftsync.Settled
			for id := int64(first); id < int64(first)+500; id++ {
				settled = append(settled, withLetter(aside(id, 0, 1), shiftsync.DeadLetter{Stage: shiftsync.StageParse, Body: []byte("{}"), Time: noon}))
			}
			remember(t, r, settled...)
		}
		letters := waiting(t, r)
		if len(letters) < many {
			t.Errorf("%d letters wait, of %d", len(letters), many)
		}
		if err := r.Delivered(t.Context(), term, letters); err != nil {
			t.Error(err)
		}
		if left := waiting(t, r); len(left) != 0 {
			t.Errorf("%d letters wait", len(left))
		}
	})
}

func TestLargeLettersComeFewAtOnce(t *testing.T) {
	onEach(t, func(t *testing.T, s *server) {
		r := s.atWork(t)
		const size, many = 400 << 10, 100
		for id := range int64(many) {
			remember(t, r, withLetter(aside(id+1, 0, 1), shiftsync.DeadLetter{Stage: shiftsync.StageParse, Body: make([]byte, size), Time: noon}))
		}
		if s.mini != nil {
			s.paging(t, "letters")
		}
		for cursor, got := uint64(0), 0; ; {
			letters, next, err := r.Letters(t.Context(), cursor)
			if err != nil || len(letters) > 50 {
				t.Fatalf("got %d letters of %d bytes at once, %v", len(letters), size, err)
			}
			if got, cursor = got+len(letters), next; cursor == 0 {
				if got < many {
					t.Errorf("got %d letters of %d", got, many)
				}
				return
			}
		}
	})
}
