package cache_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/slotsync/slotsync/cache"
	shiftsync "github.com/slotsync/slotsync/sync"
)

// step is one that needs the lease; each does something in the state that prepared makes.
type step struct {
	name  string
	claim bool // needs the claim too
	take  func(t *testing.T, r *cache.Redis, term shiftsync.Term) (any, error)
}

var steps = []step{
	{"renew", false, func(t *testing.T, r *cache.Redis, term shiftsync.Term) (any, error) {
		return nil, r.Renew(t.Context(), shiftsync.Owner{Token: term.Owner}, ttl)
	}},
	{"claim", false, func(t *testing.T, r *cache.Redis, term shiftsync.Term) (any, error) {
		return r.Claim(t.Context(), shiftsync.Term{Owner: term.Owner, Claim: "claim-2"})
	}},
	{"bind", false, func(t *testing.T, r *cache.Redis, term shiftsync.Term) (any, error) {
		return nil, r.Bind(t.Context(), shiftsync.Owner{Token: term.Owner}, shiftsync.Layout{Partitions: 24}, true)
	}},
	{"forget", false, func(t *testing.T, r *cache.Redis, term shiftsync.Term) (any, error) {
		return nil, r.Forget(t.Context(), shiftsync.Owner{Token: term.Owner})
	}},
	{"intend", true, func(t *testing.T, r *cache.Redis, term shiftsync.Term) (any, error) {
		return r.Intend(t.Context(), term, []shiftsync.Intent{intent(1, 8, 8)})
	}},
	{"remember", true, func(t *testing.T, r *cache.Redis, term shiftsync.Term) (any, error) {
		return r.Remember(t.Context(), term, []shiftsync.Settled{acknowledged(2, 7, 7), withLetter(aside(3, 7, 7), shiftsync.DeadLetter{}), aside(0, 0, 9)})
	}},
	{"delivered", true, func(t *testing.T, r *cache.Redis, term shiftsync.Term) (any, error) {
		return nil, r.Delivered(t.Context(), term, []shiftsync.DeadLetter{{ID: 6, Raw: version(1).Raw}})
	}},
	{"remember nothing", true, func(t *testing.T, r *cache.Redis, term shiftsync.Term) (any, error) {
		return r.Remember(t.Context(), term, nil)
	}},
	{"refresh", true, func(t *testing.T, r *cache.Redis, term shiftsync.Term) (any, error) {
		return nil, r.Refresh(t.Context(), term, []shiftsync.Seen{{ID: 1, Fingerprint: version(1).Fingerprint, Raw: 99}})
	}},
	{"unwant", true, func(t *testing.T, r *cache.Redis, term shiftsync.Term) (any, error) {
		return nil, r.Unwant(t.Context(), term, 7)
	}},
	{"doubt", true, func(t *testing.T, r *cache.Redis, term shiftsync.Term) (any, error) {
		again, err := r.Doubt(t.Context(), term, "pass-2", []shiftsync.Doubted{{ID: 1}, {ID: 2, Fingerprint: version(3).Fingerprint}})
		return fmt.Sprint(again), err
	}},
	{"note", true, func(t *testing.T, r *cache.Redis, term shiftsync.Term) (any, error) {
		return nil, r.Note(t.Context(), term, []shiftsync.Note{{ID: 1, Finding: shiftsync.Finding{Last: shiftsync.Gone, Asked: 1}, Wait: time.Hour}, {ID: 8}})
	}},
	{"roll due", true, func(t *testing.T, r *cache.Redis, term shiftsync.Term) (any, error) {
		return r.RollDue(t.Context(), term, time.Minute)
	}},
	{"roll called", true, func(t *testing.T, r *cache.Redis, term shiftsync.Term) (any, error) {
		return nil, r.RollCalled(t.Context(), term, window, func(int64) bool { return false })
	}},
	{"sweep", true, func(t *testing.T, r *cache.Redis, term shiftsync.Term) (any, error) {
		_, err := r.Sweep(t.Context(), term, 100*time.Hour, true) // how many it dropped is news, not an answer
		return nil, err
	}},
}

// prepared is a state in which each step has something to do: 1 is remembered, 2, 3 and 5 are remembered with a newer
// version on its way, 4 is remembered and old, 6 is set aside, 1, 2 and 7 are wanted; 8 was missing and is not remembered
// any more, and a version of 1 was doubted by another pass.
func prepared(t *testing.T, s *server) *cache.Redis {
	t.Helper()
	r := s.atWork(t)
	if err := r.Bind(t.Context(), worker, shiftsync.Layout{Partitions: 12, Fixed: "murmur2"}, false); err != nil {
		t.Fatal(err)
	}
	for id := range int64(5) {
		publish(t, r, id+1, 1)
	}
	want(t, r, 2, 7)
	intend(t, r, intent(2, 7, 7), intent(3, 7, 7), intent(5, 7, 7))
	remember(t, r, withLetter(aside(6, 0, 1), shiftsync.DeadLetter{Stage: shiftsync.StageParse}))
	s.age(t, "shifts", "4", 101*time.Hour)
	note(t, r, shiftsync.Note{ID: 8, Finding: shiftsync.Finding{Last: shiftsync.Unclear, Asked: 1}, Wait: time.Hour})
	if _, err := r.Doubt(t.Context(), term, "pass-1", []shiftsync.Doubted{{ID: 1}}); err != nil {
		t.Fatal(err)
	}
	s.sweptLongAgo(t)
	return r
}

func TestAStepIsTakenOnlyInItsTerm(t *testing.T) {
	circumstances := []struct {
		name string
		all  bool // also steps that do not look at the claim are refused
		term shiftsync.Term
		make func(t *testing.T, s *server, r *cache.Redis)
	}{
		{"by nobody", true, shiftsync.Term{Claim: term.Claim}, nil},
		{"by somebody else", true, shiftsync.Term{Owner: rival.Token, Claim: term.Claim}, nil},
		{"under another claim", false, shiftsync.Term{Owner: worker.Token, Claim: "claim-0"}, nil},
		{"before the first claim", false, shiftsync.Term{Owner: worker.Token}, nil},
		{"under the claim before this one", false, term, func(t *testing.T, s *server, r *cache.Redis) {
			claim(t, r, shiftsync.Term{Owner: worker.Token, Claim: "claim-1b"})
		}},
		{"without a lease any more", true, term, func(t *testing.T, s *server, r *cache.Redis) {
			if err := r.Release(t.Context(), worker); err != nil {
				t.Fatal(err)
			}
		}},
		{"when another worker has it", true, term, func(t *testing.T, s *server, r *cache.Redis) {
			if err := r.Release(t.Context(), worker); err != nil {
				t.Fatal(err)
			}
			acquire(t, r, rival)
		}},
		{"when another worker has claimed the same", true, term, func(t *testing.T, s *server, r *cache.Redis) {
			if err := r.Release(t.Context(), worker); err != nil {
				t.Fatal(err)
			}
			acquire(t, r, rival)
			claim(t, s.store(), shiftsync.Term{Owner: rival.Token, Claim: term.Claim})
		}},
		{"under a claim made before the lease ran out and was taken again", false, term, func(t *testing.T, s *server, r *cache.Redis) {
			if err := r.Release(t.Context(), worker); err != nil {
				t.Fatal(err)
			}
			acquire(t, r, worker)
		}},
	}
	onEach(t, func(t *testing.T, s *server) {
		for _, step := range steps {
			for _, c := range circumstances {
				if !c.all && !step.claim {
					continue
				}
				t.Run(step.name+" "+c.name, func(t *testing.T) {
					s.reset(t)
					r := prepared(t, s)
					if c.make != nil {
						c.make(t, s, r)
					}
					before := s.dump(t)
					if _, err := step.take(t, r, c.term); !errors.Is(err, shiftsync.ErrLeaseLost) {
						t.Errorf("got %v, want ErrLeaseLost", err)
					}
					if after := s.dump(t); after != before {
						t.Errorf("it changed\n%sto\n%s", before, after)
					}
				})
			}
		}
	})
}

func TestAStepRepeatedHasTheSameAnswerAndDoesNothing(t *testing.T) {
	onEach(t, func(t *testing.T, s *server) {
		for _, step := range steps {
			t.Run(step.name, func(t *testing.T) {
				s.reset(t)
				r := prepared(t, s)
				before := s.dump(t)
				first, err := step.take(t, r, term)
				if err != nil {
					t.Fatal(err)
				}
				once := s.dump(t)
				if once == before && !slices.Contains([]string{"renew", "remember nothing", "roll due"}, step.name) {
					t.Error("the step did nothing, so the test shows nothing")
				}
				second, err := step.take(t, r, term)
				if second != first || err != nil {
					t.Errorf("got %v, %v the second time, want %v, nil", second, err, first)
				}
				if twice := s.dump(t); twice != once {
					t.Errorf("it changed\n%sto\n%s", once, twice)
				}
			})
		}
	})
}

func TestTheLeaseRunsOut(t *testing.T) {
	s := inProcess(t)
	for _, step := range steps {
		t.Run(step.name, func(t *testing.T) {
			s.reset(t)
			r := prepared(t, s)
			s.mini.FastForward(ttl - time.Second)
			if err := r.Renew(t.Context(), worker, ttl); err != nil {
				t.Fatal(err)
			}
			s.mini.FastForward(ttl - time.Second)
			if found, err := r.Acquire(t.Context(), rival, ttl); found.Holder != worker.Name || err != nil {
				t.Fatalf("got %+v, %v, want the worker that has renewed", found, err)
			}
			s.mini.FastForward(time.Second)
			if _, err := step.take(t, r, term); !errors.Is(err, shiftsync.ErrLeaseLost) {
				t.Errorf("got %v, want ErrLeaseLost", err)
			}
			acquire(t, r, rival)
		})
	}
}
