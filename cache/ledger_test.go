package cache_test

import (
	"bytes"
	"context"
	"encoding"
	"errors"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/slotsync/slotsync/cache"
	shiftsync "github.com/slotsync/slotsync/sync"
)

func TestLedger(t *testing.T) {
	tests := []struct {
		name string
		run  func(t *testing.T, s *server, r *cache.Redis)
		open int // intents in the end
		want map[int64]shiftsync.Known
	}{
		{"what is remembered comes back as it was", func(t *testing.T, s *server, r *cache.Redis) {
			publish(t, r, 1, 1)
		}, 0, map[int64]shiftsync.Known{1: known(1), 2: {}}},

		{"an intent stands beside what was acknowledged before", func(t *testing.T, s *server, r *cache.Redis) {
			publish(t, r, 1, 1)
			intend(t, r, intent(1, 2, 2), intent(2, 2, 2))
		}, 2, map[int64]shiftsync.Known{
			1: {Remembered: true, Version: version(1), Partition: 3, Offset: 1, Pending: true, Intended: version(2)},
			2: {Pending: true, Intended: version(2)},
		}},

		{"A, B, A is remembered as A", func(t *testing.T, s *server, r *cache.Redis) {
			for mark, n := range []uint64{1, 2, 1} {
				intend(t, r, intent(1, uint64(mark+1), n))
				remember(t, r, acknowledged(1, uint64(mark+1), n))
			}
		}, 0, map[int64]shiftsync.Known{1: known(1)}},

		{"A, B without an answer, then a claim: A is forgotten", func(t *testing.T, s *server, r *cache.Redis) {
			publish(t, r, 1, 1)
			publish(t, r, 2, 1)
			intend(t, r, intent(1, 2, 2))
			if open := claim(t, r, shiftsync.Term{Owner: worker.Token, Claim: "claim-2"}); open != 1 {
				t.Errorf("claim found %d open intents, want 1", open)
			}
		}, 1, map[int64]shiftsync.Known{1: {Pending: true, Intended: version(2)}, 2: known(1)}},

		{"what is remembered late, after another worker's claim, has no effect", func(t *testing.T, s *server, r *cache.Redis) {
			publish(t, r, 1, 1)
			intend(t, r, intent(1, 2, 2))
			if err := r.Release(t.Context(), worker); err != nil {
				t.Fatal(err)
			}
			next := s.store()
			acquire(t, next, rival)
			claim(t, next, shiftsync.Term{Owner: rival.Token, Claim: "claim-2"})
			if _, err := r.Remember(t.Context(), term, []shiftsync.Settled{acknowledged(1, 2, 2)}); err == nil {
				t.Error("it was accepted")
			}
		}, 1, map[int64]shiftsync.Known{1: {Pending: true, Intended: version(2)}}},

		{"part of a batch is remembered, the rest stands", func(t *testing.T, s *server, r *cache.Redis) {
			intend(t, r, intent(1, 1, 1), intent(2, 1, 1), intent(3, 1, 1))
			if open := remember(t, r, acknowledged(1, 1, 1), acknowledged(3, 1, 1)); open != 1 {
				t.Errorf("%d are open, want 1", open)
			}
		}, 1, map[int64]shiftsync.Known{1: known(1), 2: {Pending: true, Intended: version(1)}, 3: known(1)}},

		{"an intent that was replaced by a newer one is not remembered", func(t *testing.T, s *server, r *cache.Redis) {
			intend(t, r, intent(1, 1, 1), intent(2, 1, 1))
			if open := intend(t, r, intent(1, 2, 2)); open != 2 {
				t.Errorf("%d are open, want 2", open)
			}
			remember(t, r, acknowledged(1, 1, 1), acknowledged(2, 1, 1))
		}, 1, map[int64]shiftsync.Known{1: {Pending: true, Intended: version(2)}, 2: known(1)}},

		{"nothing is remembered without an intent", func(t *testing.T, s *server, r *cache.Redis) {
			remember(t, r, acknowledged(1, 1, 1), acknowledged(2, 0, 1))
		}, 0, map[int64]shiftsync.Known{1: {}, 2: {}}},

		{"set aside stands beside what was acknowledged, not instead of it", func(t *testing.T, s *server, r *cache.Redis) {
			publish(t, r, 1, 1)
			intend(t, r, intent(1, 2, 2))
			remember(t, r, aside(1, 2, 2))
			remember(t, r, aside(2, 0, 5))
		}, 0, map[int64]shiftsync.Known{
			1: {Remembered: true, Version: version(1), Partition: 3, Offset: 1, Aside: version(2).Raw},
			2: {Aside: version(5).Raw},
		}},

		{"what could not be made a record leaves an older intent alone", func(t *testing.T, s *server, r *cache.Redis) {
			intend(t, r, intent(1, 1, 1))
			remember(t, r, aside(1, 0, 2))
		}, 1, map[int64]shiftsync.Known{1: {Pending: true, Intended: version(1), Aside: version(2).Raw}}},

		{"set aside under a mark that does not stand is passed over", func(t *testing.T, s *server, r *cache.Redis) {
			intend(t, r, intent(1, 2, 2))
			remember(t, r, aside(1, 1, 1), aside(2, 1, 1))
		}, 1, map[int64]shiftsync.Known{1: {Pending: true, Intended: version(2)}, 2: {}}},

		{"a bad version stays aside when an older one, which was pending, is acknowledged", func(t *testing.T, s *server, r *cache.Redis) {
			intend(t, r, intent(1, 1, 1))
			remember(t, r, aside(1, 0, 2))
			remember(t, r, acknowledged(1, 1, 1))
		}, 0, map[int64]shiftsync.Known{1: {Remembered: true, Version: version(1), Partition: 3, Offset: 1, Aside: version(2).Raw}}},

		{"one call acknowledges and sets aside", func(t *testing.T, s *server, r *cache.Redis) {
			intend(t, r, intent(1, 1, 1), intent(2, 1, 1), intent(3, 1, 1))
			remember(t, r, aside(2, 1, 1), acknowledged(1, 1, 1), aside(4, 0, 1), acknowledged(3, 1, 1))
		}, 0, map[int64]shiftsync.Known{
			1: known(1), 2: {Aside: version(1).Raw}, 3: known(1), 4: {Aside: version(1).Raw},
		}},

		{"ids may be negative and huge", func(t *testing.T, s *server, r *cache.Redis) {
			publish(t, r, -7, 1)
			publish(t, r, 1<<63-1, 2)
			intend(t, r, intent(-1<<63, 3, 3))
		}, 1, map[int64]shiftsync.Known{-7: known(1), 1<<63 - 1: known(2), -1 << 63: {Pending: true, Intended: version(3)}, 7: {}}},

		{"marks use all 64 bits", func(t *testing.T, s *server, r *cache.Redis) {
			intend(t, r, intent(1, 1<<64-1, 1), intent(2, 1<<64-2, 1))
			remember(t, r, acknowledged(1, 1<<64-1, 1), acknowledged(2, 1<<64-1, 1))
		}, 1, map[int64]shiftsync.Known{1: known(1), 2: {Pending: true, Intended: version(1)}}},

		{"the fingerprint is compared as it is kept: a refresh of another one is refused", func(t *testing.T, s *server, r *cache.Redis) {
			publish(t, r, 1, 1)
			publish(t, r, 2, 1)
			refresh(t, r, shiftsync.Seen{ID: 1, Fingerprint: version(2).Fingerprint, Raw: 99},
				shiftsync.Seen{ID: 2, Fingerprint: version(1).Fingerprint, Raw: 99},
				shiftsync.Seen{ID: 3, Fingerprint: version(1).Fingerprint, Raw: 99})
		}, 0, map[int64]shiftsync.Known{1: known(1), 2: {Remembered: true, Version: withRaw(version(1), 99), Partition: 3, Offset: 1}, 3: {}}},

		{"a shift with an intent is not refreshed", func(t *testing.T, s *server, r *cache.Redis) {
			publish(t, r, 1, 1)
			intend(t, r, intent(1, 2, 2))
			refresh(t, r, shiftsync.Seen{ID: 1, Fingerprint: version(1).Fingerprint, Raw: 99})
		}, 1, map[int64]shiftsync.Known{1: {Remembered: true, Version: version(1), Partition: 3, Offset: 1, Pending: true, Intended: version(2)}}},

		{"a value of an unknown form is not remembered", func(t *testing.T, s *server, r *cache.Redis) {
			publish(t, r, 1, 1)
			publish(t, r, 2, 1)
			s.overwrite(t, "shifts", "1", func(value []byte) []byte { value[0]++; return value })
			s.overwrite(t, "shifts", "2", func(value []byte) []byte { return value[1:] })
			refresh(t, r, shiftsync.Seen{ID: 1, Fingerprint: version(1).Fingerprint, Raw: 99})
		}, 0, map[int64]shiftsync.Known{1: {}, 2: {}}},

		{"an intent of an unknown form stands", func(t *testing.T, s *server, r *cache.Redis) {
			publish(t, r, 1, 1)
			intend(t, r, intent(1, 2, 2))
			s.overwrite(t, "intents", "1", func(value []byte) []byte { value[0]++; return value })
			remember(t, r, acknowledged(1, 2, 2))
			if _, _, err := r.Open(t.Context(), 0); err == nil || !strings.Contains(err.Error(), "shift 1") {
				t.Errorf("got %v from Open, want an error that names the shift", err)
			}
		}, -1, map[int64]shiftsync.Known{1: {Remembered: true, Version: version(1), Partition: 3, Offset: 1, Pending: true}}},

		{"times that four bytes cannot hold are clamped, and none stays none", func(t *testing.T, s *server, r *cache.Redis) {
			in := intent(1, 1, 1)
			in.UpdatedAt, in.EndTime = time.Time{}, time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
			done := acknowledged(1, 1, 1)
			done.Version = in.Version
			intend(t, r, in, intent(2, 1, 1))
			remember(t, r, done)
			done = acknowledged(2, 1, 1)
			done.UpdatedAt, done.EndTime = time.Date(1925, 1, 1, 0, 0, 0, 0, time.UTC), time.Unix(1_700_000_000, 999).In(time.FixedZone("", 3600))
			remember(t, r, done)
		}, 0, map[int64]shiftsync.Known{
			1: {Remembered: true, Version: at(version(1), time.Time{}, time.Unix(1<<32-1, 0).UTC()), Partition: 3, Offset: 1},
			2: {Remembered: true, Version: at(version(1), time.Unix(1, 0).UTC(), time.Unix(1_700_000_000, 0).UTC()), Partition: 3, Offset: 1},
		}},
	}
	onEach(t, func(t *testing.T, s *server) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				s.reset(t)
				r := s.atWork(t)
				test.run(t, s, r)
				for id, want := range test.want {
					for _, from := range []*cache.Redis{r, s.store()} { // what it remembers itself must not matter
						if got := lookup(t, from, id)[0]; got != want {
							t.Errorf("shift %d\n got %+v\nwant %+v", id, got, want)
						}
					}
				}
				if test.open >= 0 {
					if got := len(openIntents(t, r)); got != test.open {
						t.Errorf("%d intents are open, want %d", got, test.open)
					}
				}
			})
		}
	})
}

func withRaw(v shiftsync.Version, raw uint64) shiftsync.Version {
	v.Raw = raw
	return v
}

func at(v shiftsync.Version, updated, end time.Time) shiftsync.Version {
	v.UpdatedAt, v.EndTime = updated, end
	return v
}

func refresh(tb testing.TB, r *cache.Redis, seen ...shiftsync.Seen) {
	tb.Helper()
	if err := r.Refresh(tb.Context(), term, seen); err != nil {
		tb.Fatal(err)
	}
}

func (s *server) overwrite(tb testing.TB, hash, field string, change func(value []byte) []byte) {
	tb.Helper()
	value, err := s.client.HGet(tb.Context(), s.key(hash), field).Bytes()
	if err != nil {
		tb.Fatal(err)
	}
	if err := s.client.HSet(tb.Context(), s.key(hash), field, change(value)).Err(); err != nil {
		tb.Fatal(err)
	}
}

func TestAnIntentComesBackWithEveryByte(t *testing.T) {
	binary := make([]byte, 256)
	for i := range binary {
		binary[i] = byte(i)
	}
	tests := []struct {
		name       string
		key, value []byte
	}{
		{"every byte there is", binary, bytes.Repeat(binary, 10)},
		{"a tombstone", []byte("key"), nil},
		{"an empty value, which is no tombstone", []byte("key"), []byte{}},
		{"an empty key", []byte{}, []byte("value")},
		{"a megabyte", []byte("key"), bytes.Repeat(binary, 4096)},
	}
	onEach(t, func(t *testing.T, s *server) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				s.reset(t)
				r := s.atWork(t)
				want := intent(1, 1<<63, 1)
				want.Key, want.Value = test.key, test.value
				intend(t, r, want)
				if got := openIntents(t, r)[1]; !reflect.DeepEqual(got, want) {
					t.Errorf("got %.200v, want %.200v", got, want)
				}
			})
		}
	})
}

func TestBatchesLargerThanLuasStack(t *testing.T) {
	onEach(t, func(t *testing.T, s *server) {
		for _, size := range []int{1, 499, 500, 501, 1000, 5000, 9001} {
			s.reset(t)
			r := s.atWork(t)
			var ids []int64
			var intents []shiftsync.Intent
			var settled []shiftsync.Settled
			var seen []shiftsync.Seen
			for i := range size {
				id := int64(i + 1)
				ids = append(ids, id)
				intents = append(intents, intent(id, 1, 1))
				settled = append(settled, acknowledged(id, 1, 1))
				seen = append(seen, shiftsync.Seen{ID: id, Fingerprint: version(1).Fingerprint, Raw: uint64(id)})
			}
			if open := intend(t, r, intents...); open != size {
				t.Errorf("%d: %d are open after intend", size, open)
			}
			if got := openIntents(t, r); len(got) != size || !reflect.DeepEqual(got[int64(size)], intents[size-1]) {
				t.Errorf("%d: %d are open, or the last is not as it was", size, len(got))
			}
			if open := remember(t, r, settled...); open != 0 {
				t.Errorf("%d: %d are open after remember", size, open)
			}
			refresh(t, r, seen...)
			for i, got := range lookup(t, r, ids...) {
				if want := withRaw(version(1), uint64(i+1)); got.Version != want || !got.Remembered || got.Pending {
					t.Fatalf("%d: shift %d is %+v", size, i+1, got)
				}
			}
			intend(t, r, intents...)
			if open := claim(t, r, shiftsync.Term{Owner: worker.Token, Claim: "claim-2"}); open != size {
				t.Errorf("%d: claim found %d", size, open)
			}
			for i, got := range lookup(t, r, ids...) {
				if got.Remembered || !got.Pending {
					t.Fatalf("%d: after a claim shift %d is %+v", size, i+1, got)
				}
			}
		}
	})
}

// late keeps copies of the steps that go through a client, to be sent again when nobody awaits them any more.
type late struct{ steps []redis.Cmder }

func (l *late) DialHook(next redis.DialHook) redis.DialHook { return next }
func (l *late) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (l *late) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "evalsha" {
			args := slices.Clone(cmd.Args())
			for i, arg := range args { // what it points to is used again
				switch v := arg.(type) {
				case *int64:
					args[i] = *v
				case encoding.BinaryMarshaler:
					b, err := v.MarshalBinary()
					if err != nil {
						return err
					}
					args[i] = bytes.Clone(b)
				}
			}
			l.steps = append(l.steps, redis.NewCmd(ctx, args...))
		}
		return next(ctx, cmd)
	}
}

func TestACopyOfAStepThatArrivesLateDoesNothing(t *testing.T) {
	tests := []struct {
		name        string
		step, after func(t *testing.T, s *server, r *cache.Redis)
	}{
		{"an intent that was settled", func(t *testing.T, s *server, r *cache.Redis) {
			intend(t, r, intent(1, 2, 2))
		}, func(t *testing.T, s *server, r *cache.Redis) {
			remember(t, r, acknowledged(1, 2, 2))
		}},
		{"an intent that was replaced", func(t *testing.T, s *server, r *cache.Redis) {
			intend(t, r, intent(1, 2, 2))
		}, func(t *testing.T, s *server, r *cache.Redis) {
			intend(t, r, intent(1, 3, 3))
		}},
		{"a claim after which more was published", func(t *testing.T, s *server, r *cache.Redis) {
			claim(t, r, term)
		}, func(t *testing.T, s *server, r *cache.Redis) {
			intend(t, r, intent(1, 2, 2))
		}},
		{"a claim's forgetting, after which its intent was settled and another one stands", func(t *testing.T, s *server, r *cache.Redis) {
			intend(t, r, intent(1, 2, 2))
			claim(t, r, term)
		}, func(t *testing.T, s *server, r *cache.Redis) {
			remember(t, r, acknowledged(1, 2, 2))
			intend(t, r, intent(1, 3, 3))
		}},
		{"a claim before the current one", func(t *testing.T, s *server, r *cache.Redis) {
			claim(t, r, shiftsync.Term{Owner: worker.Token, Claim: "claim-2"})
		}, func(t *testing.T, s *server, r *cache.Redis) {
			claim(t, r, term)
		}},
		{"a remembering of an older mark", func(t *testing.T, s *server, r *cache.Redis) {
			intend(t, r, intent(1, 2, 2))
			remember(t, r, acknowledged(1, 2, 2))
		}, func(t *testing.T, s *server, r *cache.Redis) {
			intend(t, r, intent(1, 3, 3))
		}},
		{"offsets of a topic that was replaced", func(t *testing.T, s *server, r *cache.Redis) {
			intend(t, r, intent(1, 2, 2))
			remember(t, r, acknowledged(1, 2, 2))
		}, func(t *testing.T, s *server, r *cache.Redis) {
			if err := r.Forget(t.Context(), worker); err != nil {
				t.Fatal(err)
			}
		}},
		{"the lease's end, after another worker took it", func(t *testing.T, s *server, r *cache.Redis) {
			if err := r.Release(t.Context(), worker); err != nil {
				t.Fatal(err)
			}
		}, func(t *testing.T, s *server, r *cache.Redis) {
			acquire(t, r, rival)
		}},
	}
	onEach(t, func(t *testing.T, s *server) {
		copies := &late{}
		s.client.AddHook(copies)
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				s.reset(t)
				r := s.atWork(t)
				publish(t, r, 1, 1)
				copies.steps = nil
				test.step(t, s, r)
				steps := copies.steps
				if len(steps) == 0 {
					t.Fatal("no step was seen")
				}
				test.after(t, s, r)
				before := s.dump(t)
				for _, step := range steps {
					if err := s.client.Process(t.Context(), step); err != nil {
						t.Fatal(err)
					}
				}
				if after := s.dump(t); after != before {
					t.Errorf("it changed\n%sto\n%s", before, after)
				}
			})
		}
	})
}

func TestOfTwoStoresWithOneTokenTheOlderLosesTheLease(t *testing.T) {
	onEach(t, func(t *testing.T, s *server) {
		older := s.store()
		newer := s.atWork(t)
		if open := intend(t, newer, intent(1, 1, 1)); open != 1 {
			t.Errorf("%d are open, want 1", open)
		}
		before := s.dump(t)
		if _, err := older.Intend(t.Context(), term, []shiftsync.Intent{intent(1, 2, 2)}); !errors.Is(err, shiftsync.ErrLeaseLost) {
			t.Errorf("intend: got %v, want ErrLeaseLost", err)
		}
		if _, err := older.Claim(t.Context(), shiftsync.Term{Owner: worker.Token, Claim: "claim-2"}); !errors.Is(err, shiftsync.ErrLeaseLost) {
			t.Errorf("claim: got %v, want ErrLeaseLost", err)
		}
		if after := s.dump(t); after != before {
			t.Errorf("it changed\n%sto\n%s", before, after)
		}
	})
}

// Lookup runs beside Intend and Remember. Whatever it guesses, an intent whose writing was answered before it began is
// seen by it: standing, or remembered.
func TestLookupNeverMissesWhatWasIntendedBefore(t *testing.T) {
	const rounds = 300
	ids := []int64{1, 2, 3}
	onEach(t, func(t *testing.T, s *server) {
		r := s.atWork(t)
		var intended atomic.Uint64
		var work errgroup.Group
		work.Go(func() error {
			defer intended.Store(rounds + 1)
			for n := uint64(1); n <= rounds; n++ {
				var intents []shiftsync.Intent
				var settled []shiftsync.Settled
				for _, id := range ids {
					in := intent(id, n, n)
					in.Raw = n
					intents = append(intents, in)
					settled = append(settled, shiftsync.Settled{ID: id, Mark: n, Version: in.Version})
				}
				if _, err := r.Intend(t.Context(), term, intents); err != nil {
					return err
				}
				intended.Store(n)
				if _, err := r.Remember(t.Context(), term, settled); err != nil {
					return err
				}
			}
			return nil
		})
		for n := uint64(0); n <= rounds && !t.Failed(); {
			n = intended.Load()
			for i, k := range lookup(t, r, ids...) {
				if n <= rounds && max(k.Raw, k.Intended.Raw) < n {
					t.Errorf("shift %d: version %d was intended, lookup then found %+v", ids[i], n, k)
				}
			}
		}
		if err := work.Wait(); err != nil {
			t.Error(err)
		}
	})
}

// between carries out the commands of a pipeline one by one, as a server does that serves others in between, and does
// something after so many of them.
type between struct {
	client redis.UniversalClient
	after  int
	do     func()
}

func (b *between) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (b *between) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (b *between) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, commands []redis.Cmder) error {
		for _, cmd := range commands {
			if b.after == 0 {
				b.do()
			}
			b.after--
			if err := b.client.Process(ctx, cmd); err != nil {
				return err
			}
		}
		return nil
	}
}

func TestAnIntentThatIsSettledDuringALookupIsSeen(t *testing.T) {
	onEach(t, func(t *testing.T, s *server) {
		hook := &between{client: s.client}
		hooked := s.another(t)
		hooked.AddHook(hook)
		for _, guess := range []bool{true, false} { // that there are intents
			for after := range 12 {
				s.reset(t)
				writer, reader := s.atWork(t), cache.New(hooked, s.destination)
				publish(t, writer, 1, 1)
				if !guess {
					hook.after = -1
					lookup(t, reader, 1)
				}
				intend(t, writer, intent(1, 2, 2))
				if guess {
					hook.after = -1
					lookup(t, reader, 1)
				}
				done := false
				hook.after, hook.do = after, func() {
					done = true
					remember(t, writer, acknowledged(1, 2, 2))
				}
				k := lookup(t, reader, 1)[0]
				if seen := k.Pending && k.Intended == version(2) || k.Version == version(2); !seen {
					t.Errorf("remembered after %d commands (%v): %+v", after, done, k)
				}
				if after == 0 && !done {
					t.Error("the lookup had no commands, so the test shows nothing")
				}
			}
		}
	})
}

func TestRememberTakesIntentsOfSeveralBatches(t *testing.T) {
	onEach(t, func(t *testing.T, s *server) {
		r := s.atWork(t)
		marks := []uint64{1, 1, 2, 3, 1, 1, 4} // in runs, some of them of one
		for i, mark := range marks {
			intend(t, r, intent(int64(i+1), mark, 1))
		}
		open := remember(t, r,
			acknowledged(1, 1, 1), aside(2, 1, 1), acknowledged(3, 2, 1), acknowledged(4, 9, 1), // 4 is of another batch
			acknowledged(5, 1, 1), acknowledged(6, 1, 1), aside(7, 9, 1)) // and so is 7
		if open != 2 {
			t.Errorf("%d intents are open, want those of 4 and 7", open)
		}
		for i, k := range lookup(t, r, 1, 2, 3, 4, 5, 6, 7) {
			id := i + 1
			if got, want := k.Remembered, slices.Contains([]int{1, 3, 5, 6}, id); got != want {
				t.Errorf("%d: remembered is %v, want %v", id, got, want)
			}
			if got, want := k.Pending, id == 4 || id == 7; got != want {
				t.Errorf("%d: pending is %v, want %v", id, got, want)
			}
			if got, want := k.Aside != 0, id == 2; got != want {
				t.Errorf("%d: aside is %v, want %v", id, got, want)
			}
		}
	})
}
