package cache_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slotsync/slotsync/cache"
	shiftsync "github.com/slotsync/slotsync/sync"
)

func TestAShiftIsToldAsItStands(t *testing.T) {
	onEach(t, func(t *testing.T, s *server) {
		r := s.atWork(t)
		began := time.Now().Add(-2 * time.Second) // the times are in whole seconds, of another clock
		publish(t, r, 1, 1)
		publish(t, r, 2, 1)
		intend(t, r, intent(2, 2, 2), intent(3, 2, 3))
		remember(t, r, aside(4, 0, 4))
		publish(t, r, 5, 1)
		want(t, r, 5)
		before := s.dump(t)

		reader := cache.New(s.another(t), s.destination) // who has no lease
		ask := func(id int64) *cache.ShiftState {
			t.Helper()
			got, err := reader.Shift(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		remembered := func(claim string, got *cache.RememberedShift) {
			t.Helper()
			if got == nil {
				t.Fatalf("%s: it is not remembered", claim)
			}
			if got.Version != version(1) || got.Partition != 3 || got.Offset != 1 {
				t.Errorf("%s: got %+v", claim, got)
			}
			for _, at := range []time.Time{got.Acknowledged, got.Seen} {
				if at.Before(began) || at.After(time.Now().Add(2*time.Second)) {
					t.Errorf("%s: got the time %s, want one since %s", claim, at, began)
				}
			}
		}
		one := ask(1)
		remembered("in the topic", one.Remembered)
		if one.Pending != nil || one.Aside != nil || one.Wanted {
			t.Errorf("in the topic: got %+v", one)
		}
		two := ask(2)
		remembered("with a newer version on its way", two.Remembered)
		if two.Pending == nil || *two.Pending != version(2) {
			t.Errorf("with a newer version on its way: got %+v", two.Pending)
		}
		if three := ask(3); three.Remembered != nil || three.Pending == nil || *three.Pending != version(3) {
			t.Errorf("on its way: got %+v", three)
		}
		if four := ask(4); four.Remembered != nil || four.Aside == nil || four.Aside.Reason != "no start time" || four.Aside.Noted.Before(began) {
			t.Errorf("set aside: got %+v", four)
		}
		if five := ask(5); five.Remembered != nil || !five.Wanted || !five.Known() {
			t.Errorf("wanted again: got %+v", five)
		}
		if six := ask(6); six.Known() {
			t.Errorf("never seen: got %+v", six)
		}
		if after := s.dump(t); after != before {
			t.Errorf("to ask has changed\n%s\nto\n%s", before, after)
		}

		if err := s.client.HSet(t.Context(), s.key("intents"), "1", "\x02of another release").Err(); err != nil {
			t.Fatal(err)
		}
		if got := ask(1); got.Pending == nil || *got.Pending != (shiftsync.Version{}) {
			t.Errorf("an intent of another release: got %+v", got.Pending)
		}
	})
}

func TestAShiftCannotBeToldWithoutRedis(t *testing.T) {
	r := cache.New(dial(t, cache.Config{URL: "127.0.0.1:1"}), "nowhere")
	got, err := r.Shift(t.Context(), 5)
	if got != nil || !errors.Is(err, cache.ErrRedis) || !strings.HasPrefix(err.Error(), "hget shift 5: redis at 127.0.0.1:1: ") {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestAnswersAreTold(t *testing.T) {
	s := inProcess(t)
	client := dial(t, cache.Config{URL: s.mini.Addr()})
	var mu sync.Mutex // guards told
	var told []error
	cache.OnAnswer(client, func(err error) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, err)
	})
	r := cache.New(client, s.destination)
	last := func() error {
		mu.Lock()
		defer mu.Unlock()
		if len(told) == 0 {
			t.Fatal("nothing was told")
		}
		return told[len(told)-1]
	}
	ask := func(claim string, well bool) {
		t.Helper()
		_, _ = r.Shift(t.Context(), 1)
		if got := last(); (got == nil) != well {
			t.Errorf("%s: got %v, want it well: %v", claim, got, well)
		}
	}
	ask("there is nothing", true)
	acquire(t, r, worker) // by a script that has to be loaded first
	if got := last(); got != nil {
		t.Errorf("a script: got %v", got)
	}
	if err := r.Renew(t.Context(), rival, ttl); !errors.Is(err, shiftsync.ErrLeaseLost) || last() != nil {
		t.Errorf("a no is an answer: got %v, %v", err, last())
	}
	s.mini.SetError("LOADING Redis is loading the dataset in memory")
	ask("it loads", false)
	s.mini.SetError("ERR something about this command alone")
	ask("a wrong command", true)
	s.mini.SetError("")
	s.mini.Close()
	ask("nobody is there", false)
	if err := last(); !errors.Is(err, cache.ErrRedis) {
		t.Errorf("got %v, want where and what to do in it", err)
	}
}

// Whoever looks at a shift may have less patience than the worker, for which a slow server is no fault.
func TestWhatALookerHadNoTimeForIsNotTold(t *testing.T) {
	mute, err := net.Listen("tcp", "127.0.0.1:0") // it takes connections and never answers
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mute.Close() })
	client := dial(t, cache.Config{URL: mute.Addr().String()})
	told := make(chan error, 10)
	cache.OnAnswer(client, func(err error) { told <- err })
	r := cache.New(client, "nowhere")

	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := r.Shift(short, 1); err == nil {
		t.Fatal("got no error of a server that does not answer")
	}
	if len(told) != 0 {
		t.Errorf("a look of 50 ms tells %v", <-told)
	}
	_, err = cache.New(client, "nowhere", cache.Timeout(50*time.Millisecond)).Shift(t.Context(), 1)
	if err == nil || len(told) == 0 {
		t.Errorf("our own limit: got %v, and no word about it", err)
	}
}
