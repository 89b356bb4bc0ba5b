package cache_test

import (
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/slotsync/slotsync/cache"
	shiftsync "github.com/slotsync/slotsync/sync"
)

func TestBind(t *testing.T) {
	bound := shiftsync.Layout{Partitions: 12, Fixed: "murmur2", KeySchema: 5, Account: 1<<53 + 1}
	tests := []struct {
		name   string
		layout shiftsync.Layout
		accept bool
		want   string // the error
		known  bool   // shift 1 is remembered afterwards
		then   shiftsync.Layout
	}{
		{"the same", bound, false, "", true, bound},
		{"the same, accepting", bound, true, "", true, bound},
		{"nothing to compare", shiftsync.Layout{}, true, "", true, bound},
		{"another number of partitions", shiftsync.Layout{Partitions: 24}, false,
			"the topic's number of partitions was 12 and is now 24", true, bound},
		{"another partition", shiftsync.Layout{Partitions: 12, Fixed: "0"}, false,
			"the partition that records go to was murmur2 and is now 0", true, bound},
		{"another key", shiftsync.Layout{KeySchema: 6}, false, "the schema id of the key was 5 and is now 6", true, bound},
		{"another account", shiftsync.Layout{Account: 1<<53 + 2}, false,
			"the When I Work account was 9007199254740993 and is now 9007199254740994", true, bound},
		{"another number of partitions, accepted", shiftsync.Layout{Partitions: 24, Fixed: "murmur2"}, true, "", false,
			shiftsync.Layout{Partitions: 24, Fixed: "murmur2", KeySchema: 5, Account: 1<<53 + 1}},
	}
	onEach(t, func(t *testing.T, s *server) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				s.reset(t)
				r := s.atWork(t)
				bind := func(l shiftsync.Layout, accept bool) error { return r.Bind(t.Context(), worker, l, accept) }
				// In two parts: what was not remembered is remembered beside what was.
				if err := errors.Join(bind(shiftsync.Layout{Partitions: 12, Account: 1<<53 + 1}, false), bind(bound, false)); err != nil {
					t.Fatal(err)
				}
				publish(t, r, 1, 1)
				intend(t, r, intent(1, 2, 2))

				for range 2 {
					err := bind(test.layout, test.accept)
					var differs *shiftsync.LayoutError
					if got := text(err); got != test.want || (test.want != "" && !errors.As(err, &differs)) {
						t.Errorf("got %q, want %q", got, test.want)
					}
				}
				k := lookup(t, r, 1)[0]
				if k.Remembered != test.known || !k.Pending {
					t.Errorf("remembered is %v, pending is %v, want %v and true", k.Remembered, k.Pending, test.known)
				}
				if got := len(ends(t, r)) > 0; got != test.known {
					t.Errorf("there are ends: %v, want %v", got, test.known)
				}
				if err := bind(test.then, false); err != nil {
					t.Errorf("it is not the one that is remembered then: %v", err)
				}
			})
		}
	})
}

// What cannot be read is no layout that fits: a worker that went on would write where another one did not.
func TestALayoutThatCannotBeReadIsAnError(t *testing.T) {
	onEach(t, func(t *testing.T, s *server) {
		for field, value := range map[string]string{"account": "x", "partitions": "007", "key_schema": "4294967301"} {
			s.reset(t)
			r := s.atWork(t)
			if err := s.client.HSet(t.Context(), s.key("layout"), field, value).Err(); err != nil {
				t.Fatal(err)
			}
			layout := shiftsync.Layout{Account: 9, Partitions: 7, KeySchema: 5}
			if err := r.Bind(t.Context(), worker, layout, false); err == nil || !strings.Contains(err.Error(), field) {
				t.Errorf("%s=%s: bound with %v, want an error that names it", field, value, err)
			}
			if value == "007" {
				continue // can be read, if not written
			}
			if _, err := r.Bound(t.Context()); err == nil || !strings.Contains(err.Error(), field) {
				t.Errorf("%s=%s: read with %v, want an error that names it", field, value, err)
			}
			if _, err := r.State(t.Context()); err == nil || !strings.Contains(err.Error(), field) {
				t.Errorf("%s=%s: looked at with %v, want an error that names it", field, value, err)
			}
		}
	})
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func ends(tb testing.TB, r *cache.Redis) map[int]int64 {
	tb.Helper()
	all, err := r.Ends(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return all
}

func TestEndsAreTheHighestOffsets(t *testing.T) {
	done := func(id int64, partition int, offset int64) shiftsync.Settled {
		return shiftsync.Settled{ID: id, Mark: 1, Partition: partition, Offset: offset}
	}
	onEach(t, func(t *testing.T, s *server) {
		r := s.atWork(t)
		if got := ends(t, r); len(got) != 0 {
			t.Errorf("at first: %v", got)
		}
		intend(t, r, intent(1, 1, 1), intent(2, 1, 1), intent(3, 1, 1), intent(4, 1, 1), intent(5, 1, 1), intent(6, 1, 1))
		remember(t, r, done(1, 0, 0), done(2, 7, 1<<40+1), done(3, 7, 1<<40))
		remember(t, r, done(4, 7, 3), done(5, 1, 10))
		remember(t, r, done(99, 1, 500), shiftsync.Settled{ID: 98, Aside: "too large", Partition: 9, Offset: 9})
		if got, want := ends(t, r), (map[int]int64{0: 0, 7: 1<<40 + 1, 1: 10}); !maps.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

func TestForgetLeavesIntents(t *testing.T) {
	onEach(t, func(t *testing.T, s *server) {
		r := s.atWork(t)
		publish(t, r, 1, 1)
		intend(t, r, intent(1, 2, 2), intent(2, 2, 2))
		if err := r.Forget(t.Context(), worker); err != nil {
			t.Fatal(err)
		}
		for _, k := range lookup(t, r, 1, 2) {
			if want := (shiftsync.Known{Pending: true, Intended: version(2)}); k != want {
				t.Errorf("got %+v, want %+v", k, want)
			}
		}
		if got := ends(t, r); len(got) != 0 {
			t.Errorf("ends are %v", got)
		}
	})
}

func TestLease(t *testing.T) {
	onEach(t, func(t *testing.T, s *server) {
		r, other := s.store(), s.store()
		acquire(t, r, worker)
		acquire(t, r, worker) // the answer got lost
		for range 2 {
			if found, err := other.Acquire(t.Context(), rival, ttl); found.Holder != worker.Name || err != nil {
				t.Errorf("got %+v, %v, want the holder's name", found, err)
			}
			if err := other.Release(t.Context(), rival); err != nil { // it never had it
				t.Error(err)
			}
		}
		claim(t, r, term)
		acquire(t, r, worker)
		intend(t, r, intent(1, 1, 1)) // taking what one has leaves the claim
		if left, err := s.client.PTTL(t.Context(), s.key("lease")).Result(); err != nil || left <= ttl-3*time.Second || left > ttl {
			t.Errorf("it lasts %v, %v, want %v", left, err, ttl)
		}
		if err := r.Renew(t.Context(), worker, time.Hour); err != nil {
			t.Error(err)
		}
		if left, err := s.client.PTTL(t.Context(), s.key("lease")).Result(); err != nil || left <= time.Hour-3*time.Second {
			t.Errorf("it lasts %v, %v, want an hour", left, err)
		}
		for range 2 {
			if err := r.Release(t.Context(), worker); err != nil {
				t.Error(err)
			}
		}
		acquire(t, other, shiftsync.Owner{Token: "nameless"})
		if found, err := r.Acquire(t.Context(), worker, ttl); found.Holder == "" || err != nil {
			t.Errorf("got %+v, %v while a worker without a name has it", found, err)
		}
		if _, err := r.Acquire(t.Context(), shiftsync.Owner{Name: "host"}, ttl); err == nil {
			t.Error("an owner without a token was let in")
		}
		if _, err := r.Acquire(t.Context(), worker, 0); err == nil {
			t.Error("a lease without a length was given")
		}
		if _, err := r.Claim(t.Context(), shiftsync.Term{Owner: "nameless"}); err == nil {
			t.Error("an empty claim was accepted")
		}
	})
}

func TestNothingButTheLeaseHasATimeToLive(t *testing.T) {
	onEach(t, func(t *testing.T, s *server) {
		r := prepared(t, s)
		sweep(t, r, 1000*time.Hour)
		refresh(t, r, shiftsync.Seen{ID: 1, Fingerprint: version(1).Fingerprint, Raw: 99})
		found := 0
		for _, name := range []string{"shifts", "intents", "aside", "layout", "ends", "swept"} {
			left, err := s.client.TTL(t.Context(), s.key(name)).Result()
			if err != nil || left != -1 {
				t.Errorf("%s has %v left, %v, want -1: no end", name, left, err)
			}
			found++
		}
		if found == 0 {
			t.Error("no key was looked at")
		}
	})
}

func TestDestinationsDoNotMeet(t *testing.T) {
	names := [][3]string{
		{"c", "t", ""}, {"c", "t", "n"}, {"c", "t/n", ""}, {"c/t", "n", ""}, {"c", "t", "n/"}, {"c}", "t", ""}, {"c", "{t}", ""}, {"c%7D", "t", ""},
	}
	seen := map[string][3]string{}
	for _, name := range names {
		got := cache.Destination(name[0], name[1], name[2])
		if before, ok := seen[got]; ok {
			t.Errorf("%q and %q are both %s", before, name, got)
		}
		if strings.ContainsAny(got, "{}") {
			t.Errorf("%q gives %s, whose braces would end the hash tag", name, got)
		}
		seen[got] = name
	}
	s := inProcess(t)
	publish(t, s.atWork(t), 1, 1)
	if k := lookup(t, cache.New(s.client, cache.Destination("cluster", "shifts", "other")), 1)[0]; k.Remembered {
		t.Error("another destination knows the shift")
	}
}

func TestWhoAsksForTheLeaseIsToldHowThingsStand(t *testing.T) {
	onEach(t, func(t *testing.T, s *server) {
		r := s.store()
		asks := func(claim string, owner shiftsync.Owner, want shiftsync.Standing, age time.Duration) {
			t.Helper()
			began := time.Now()
			got, err := r.Acquire(t.Context(), owner, ttl)
			if err != nil {
				t.Fatal(err)
			}
			if age < 0 && !got.InStep.IsZero() || age >= 0 && (got.InStep.Before(began.Add(-age-3*time.Second)) || got.InStep.After(time.Now().Add(-age))) {
				t.Errorf("%s: got in step %s, %s ago, want %s ago", claim, got.InStep, time.Since(got.InStep), age)
			}
			if got.InStep = (time.Time{}); got != want {
				t.Errorf("%s: got %+v, want %+v", claim, got, want)
			}
		}
		set := func(seconds int64) {
			t.Helper()
			if err := s.client.Set(t.Context(), s.key("in_step"), seconds, 0).Err(); err != nil {
				t.Fatal(err)
			}
		}
		clock, err := s.client.Time(t.Context()).Result()
		if err != nil {
			t.Fatal(err)
		}
		now := clock.Unix()
		asks("a new store", worker, shiftsync.Standing{Never: true}, 0)
		asks("another one", rival, shiftsync.Standing{Holder: worker.Name, Never: true}, 0)
		set(-(now - 600))
		asks("nobody got there for ten minutes", worker, shiftsync.Standing{Never: true}, 10*time.Minute)
		claim(t, r, term)
		sweep(t, r, time.Hour)
		asks("a pass left something", worker, shiftsync.Standing{Never: true}, 10*time.Minute)
		if _, err := r.Sweep(t.Context(), term, time.Hour, true); err != nil {
			t.Fatal(err)
		}
		asks("a pass was in step", rival, shiftsync.Standing{Holder: worker.Name}, 0)
		intend(t, r, intent(1, 1, 1), intent(2, 1, 2))
		set(now - 600)
		asks("an outage of ten minutes", worker, shiftsync.Standing{Open: 2}, 10*time.Minute)
		if _, err := r.Sweep(t.Context(), shiftsync.Term{Owner: rival.Token, Claim: "late"}, time.Hour, true); !errors.Is(err, shiftsync.ErrLeaseLost) {
			t.Errorf("somebody without the lease noted that all is in step: %v", err)
		}
		asks("that has changed nothing", rival, shiftsync.Standing{Holder: worker.Name, Open: 2}, 10*time.Minute)
		if err := s.client.Del(t.Context(), s.key("in_step")).Err(); err != nil {
			t.Fatal(err)
		}
		asks("the holder is of an older release", rival, shiftsync.Standing{Holder: worker.Name, Open: 2}, -1)
		set(now + 3600)
		asks("a clock that was set back", worker, shiftsync.Standing{Open: 2}, 0)
	})
}
