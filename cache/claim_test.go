package cache_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	miniserver "github.com/alicebob/miniredis/v2/server"
	"github.com/redis/go-redis/v9"

	"github.com/slotsync/slotsync/cache"
	shiftsync "github.com/slotsync/slotsync/sync"
)

// steptimes notes how long each step took, and stops those that come after so many.
type steptimes struct {
	stopAfter int // negative: never
	took      []time.Duration
}

var errCrash = errors.New("crashed")

func (s *steptimes) DialHook(next redis.DialHook) redis.DialHook { return next }
func (s *steptimes) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (s *steptimes) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if !strings.HasPrefix(cmd.Name(), "eval") {
			return next(ctx, cmd)
		}
		if len(s.took) == s.stopAfter {
			cmd.SetErr(errCrash)
			return errCrash
		}
		began := time.Now()
		err := next(ctx, cmd)
		if err == nil { // the first try of a script fails: the server does not know it yet
			s.took = append(s.took, time.Since(began))
		}
		return err
	}
}

// A worker that dies in the middle of a claim leaves things remembered that the next one must not believe.
func TestAClaimThatWasCutOffIsMendedByTheNext(t *testing.T) {
	onEach(t, func(t *testing.T, s *server) {
		r := s.atWork(t)
		publish(t, r, 1, 1)
		publish(t, r, 2, 1)
		intend(t, r, intent(1, 2, 2))

		client := s.another(t)
		client.AddHook(&steptimes{stopAfter: 1})
		dying := cache.New(client, s.destination)
		if _, err := dying.Claim(t.Context(), shiftsync.Term{Owner: worker.Token, Claim: "claim-2"}); !errors.Is(err, errCrash) {
			t.Fatalf("got %v, want the claim cut off", err)
		}
		if k := lookup(t, r, 1)[0]; !k.Remembered {
			t.Fatal("the first step forgot already, so the test shows nothing")
		}
		if _, err := r.Remember(t.Context(), term, []shiftsync.Settled{acknowledged(1, 2, 2)}); !errors.Is(err, shiftsync.ErrLeaseLost) {
			t.Errorf("the claim before is good still: %v", err)
		}

		if open := claim(t, s.store(), shiftsync.Term{Owner: worker.Token, Claim: "claim-3"}); open != 1 {
			t.Errorf("%d are open, want 1", open)
		}
		for i, want := range []shiftsync.Known{{Pending: true, Intended: version(2)}, known(1)} {
			if got := lookup(t, r, int64(i+1))[0]; got != want {
				t.Errorf("shift %d\n got %+v\nwant %+v", i+1, got, want)
			}
		}
	})
}

// paging makes a miniredis, which answers HSCAN with the whole hash, tell what a hash has now in pages of two.
func (s *server) paging(tb testing.TB, name string) {
	tb.Helper()
	hash := s.client.HGetAll(tb.Context(), s.key(name)).Val()
	fields := slices.Sorted(maps.Keys(hash))
	s.mini.Server().SetPreHook(func(c *miniserver.Peer, cmd string, args ...string) bool {
		if !strings.EqualFold(cmd, "HSCAN") || args[0] != s.key(name) {
			return false
		}
		at, _ := strconv.Atoi(args[1])
		to := min(at+2, len(fields))
		c.WriteLen(2)
		c.WriteBulk(strconv.Itoa(to % len(fields)))
		c.WriteLen(2 * (to - at))
		for _, field := range fields[at:to] {
			c.WriteBulk(field)
			c.WriteBulk(hash[field])
		}
		return true
	})
	tb.Cleanup(func() { s.mini.Server().SetPreHook(nil) })
}

func TestAClaimForgetsTheShiftsOfEveryPage(t *testing.T) {
	s := inProcess(t)
	r := s.atWork(t)
	const last = 7
	for id := int64(1); id <= last; id++ {
		publish(t, r, id, 1)
		intend(t, r, intent(id, 2, 2))
	}
	publish(t, r, last+1, 1)
	s.paging(t, "intents")
	if open := claim(t, r, shiftsync.Term{Owner: worker.Token, Claim: "claim-2"}); open != last {
		t.Errorf("%d are open, want %d", open, last)
	}
	for id := int64(1); id <= last+1; id++ {
		if k := lookup(t, r, id)[0]; k.Remembered != (id > last) {
			t.Errorf("shift %d: remembered is %v", id, k.Remembered)
		}
	}
}

// A server serves nobody else while it takes a step, a renewal of the lease included. SLOTSYNC_TEST_INTENTS sets how
// many are claimed, 20,000 by default. Only a real server scans page by page.
func TestAClaimOfManyIntentsIsManyShortSteps(t *testing.T) {
	url := fromStack(t, serverURL)
	const size = 2000
	many := 20_000
	if n, err := strconv.Atoi(os.Getenv("SLOTSYNC_TEST_INTENTS")); err == nil {
		many = n
	}
	s := outside(t, cache.Config{URL: url})
	r := s.atWork(t)
	for from := 0; from < many; from += size {
		var intents []shiftsync.Intent
		var settled []shiftsync.Settled
		for id := from + 1; id <= from+size; id++ {
			intents = append(intents, intent(int64(id), 1, 1))
			settled = append(settled, acknowledged(int64(id), 1, 1))
		}
		intend(t, r, intents...)
		remember(t, r, settled...)
		intend(t, r, intents...)
		if err := r.Renew(t.Context(), worker, time.Hour); err != nil { // nobody renews it during the claim here
			t.Fatal(err)
		}
	}
	times := &steptimes{stopAfter: -1}
	client := s.another(t)
	client.AddHook(times)
	began := time.Now()
	if open := claim(t, cache.New(client, s.destination), shiftsync.Term{Owner: worker.Token, Claim: "claim-2"}); open != many {
		t.Errorf("%d are open, want %d", open, many)
	}
	longest := time.Duration(0)
	for _, took := range times.took {
		longest = max(longest, took)
	}
	t.Logf("claimed %d intents in %s: %d steps, the longest took %s", many, time.Since(began), len(times.took), longest)
	if least := many / 1000; len(times.took) < least {
		t.Errorf("%d steps, want %d at least", len(times.took), least)
	}
	for ids := range slices.Chunk(ids(many), size) {
		for i, k := range lookup(t, r, ids...) {
			if k.Remembered {
				t.Fatalf("shift %d is remembered still", ids[i])
			}
		}
	}
}
