package shiftsync_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	shiftsync "github.com/slotsync/slotsync/sync"
)

// running is a worker in its loop.
type running struct {
	*incarnation
	stop func() error // returns what Run returned
}

func run(t *testing.T, w *world, name string) running {
	i := &incarnation{world: w, name: name}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- i.worker().Run(ctx) }()
	return running{i, func() error {
		cancel()
		return <-done
	}}
}

// passes is how many passes the worker has ended.
func (r running) passes() int {
	r.gate.Lock()
	defer r.gate.Unlock()
	return len(r.done)
}

func TestTheLoopPassesAtOnceAndThenWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(everyShift("A"))
		slow := 7 * time.Second
		w.onSend = func() { <-time.After(slow) }
		r := run(t, w, "worker")
		for _, at := range []struct {
			after  time.Duration
			passes int
		}{{6 * time.Second, 0}, {2 * time.Second, 1}, {8 * time.Second, 1}, {2 * time.Second, 2}, {8 * time.Second, 2}, {2 * time.Second, 3}} {
			<-time.After(at.after)
			synctest.Wait()
			if got := r.passes(); got != at.passes {
				t.Errorf("got %d passes, want %d", got, at.passes)
			}
		}
		if err := r.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestAStopFinishesTheBatchInHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(everyShift("A"))
		sending := make(chan struct{})
		w.onSend = func() {
			close(sending)
			<-time.After(3 * time.Second)
		}
		r := run(t, w, "worker")
		<-sending
		if err := r.stop(); err != nil {
			t.Errorf("a clean stop is no error: got %v", err)
		}
		if len(w.intents) != 0 || len(w.shifts) != len(ids) || w.lease.Token != "" {
			t.Errorf("got %d open intents, %d remembered, lease held by %q", len(w.intents), len(w.shifts), w.lease.Name)
		}
	})
}

func TestAStopIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(everyShift("A"))
		i := &incarnation{world: w, name: "worker"}
		worker := i.worker()
		reading := make(chan struct{})
		worker.Source = hanging{i, reading}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- worker.Run(ctx) }()
		<-reading
		began := time.Now()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > worker.StopTimeout {
			t.Errorf("it took %s", took)
		}
	})
}

// hanging is a source that says nothing until it is cut off.
type hanging struct {
	shiftsync.Source
	reading chan struct{}
}

func (h hanging) Read(ctx context.Context, _ shiftsync.Window, _ func(int64, uint64, []byte) error) error {
	close(h.reading)
	<-ctx.Done()
	return ctx.Err()
}

func TestAStopIsBoundedThoughNothingAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(everyShift("A"))
		i := &incarnation{world: w, name: "worker"}
		worker := i.worker()
		worker.Publisher = frozen{i}
		worker.Store = frozenAfterIntend{store{i}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- worker.Run(ctx) }()
		<-time.After(time.Second)
		began := time.Now()
		cancel()
		if err := <-done; err == nil {
			t.Error("the lease could not be given back, and nothing says so")
		}
		if took := time.Since(began); took > worker.StopTimeout || took < worker.StopTimeout/2 {
			t.Errorf("it took %s", took)
		}
	})
}

// frozen is a broker that answers nothing any more when it is given records, except that it has half of them.
type frozen struct{ *incarnation }

func (f frozen) Publish(ctx context.Context, _ shiftsync.Hold, _ string, records []shiftsync.Record) ([]shiftsync.Outcome, error) {
	<-ctx.Done()
	outcomes := make([]shiftsync.Outcome, len(records))
	outcomes[0].Fate = shiftsync.Acknowledged
	return outcomes, ctx.Err()
}

// frozenAfterIntend is a store that answers nothing any more once records may be published, but renews the lease.
type frozenAfterIntend struct{ store }

func (f frozenAfterIntend) Remember(ctx context.Context, _ shiftsync.Term, _ []shiftsync.Settled) (int, error) {
	<-ctx.Done()
	return 0, ctx.Err()
}

func (f frozenAfterIntend) Release(ctx context.Context, _ shiftsync.Owner) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestOneWorkerAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(everyShift("A"))
		first := run(t, w, "first")
		<-time.After(time.Second)

		second := run(t, w, "second")
		<-time.After(time.Minute) // many leases long
		second.note(func() {
			if len(second.done) != 0 || second.standbys == 0 || slices.Contains(second.names, "topic") {
				t.Errorf("a standby does no pass and asks the broker for nothing: got %d passes, steps %v", len(second.done), second.names)
			}
		})
		once := &incarnation{world: w, name: "once"}
		began := time.Now()
		_, err := once.worker().RunOnce(t.Context())
		var held *shiftsync.HeldError
		if !errors.As(err, &held) || held.Holder != "first" || time.Since(began) > 21*time.Second || time.Since(began) < 15*time.Second {
			t.Errorf("one pass waits some 20 s for its turn and names the holder: got %v after %s", err, time.Since(began))
		}

		first.gate.Lock()
		first.dead = true
		first.gate.Unlock()
		<-time.After(20 * time.Second)
		if second.passes() == 0 {
			t.Error("a killed worker is not replaced within 20 s")
		}
		_ = first.stop() // it is dead: whatever it says
		third := run(t, w, "third")
		<-time.After(5 * time.Second)
		if err := second.stop(); err != nil {
			t.Error(err)
		}
		<-time.After(3 * time.Second)
		if third.passes() == 0 {
			t.Error("a clean stop does not hand over at once")
		}
		if err := third.stop(); err != nil {
			t.Error(err)
		}
	})
}

// A holder may die just when the standby has had trouble with Redis.
func TestAStandbyIsAsQuickAfterTroubleWithRedis(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(everyShift("A"))
		owner := run(t, w, "owner")
		<-time.After(time.Second)
		i := &incarnation{world: w, name: "standby"}
		worker, leases := i.worker(), &deafLeases{Store: store{i}}
		worker.Store, worker.Sleep = leases, time.Hour
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- worker.Run(ctx) }()
		<-time.After(10 * time.Second)
		leases.deaf.Store(true)
		<-time.After(3 * time.Second)
		leases.deaf.Store(false)
		owner.gate.Lock()
		owner.dead = true
		owner.gate.Unlock()
		<-time.After(20 * time.Second)
		w.mu.Lock()
		if w.lease.Name != "standby" {
			t.Errorf("20 s after the holder died, %q has the lease", w.lease.Name)
		}
		w.mu.Unlock()
		i.note(func() {
			if len(i.done) != 2 || !errors.Is(i.done[0], errLost) {
				t.Errorf("told %v, want the trouble once and a pass", i.done)
			}
		})
		cancel()
		<-done
		_ = owner.stop()
	})
}

// deafLeases answers no Acquire while it is deaf.
type deafLeases struct {
	shiftsync.Store
	deaf atomic.Bool
}

func (d *deafLeases) Acquire(ctx context.Context, o shiftsync.Owner, ttl time.Duration) (shiftsync.Standing, error) {
	if d.deaf.Load() {
		return shiftsync.Standing{}, errLost
	}
	return d.Store.Acquire(ctx, o, ttl)
}

// Another worker may have found newer schemas meanwhile: what it has published must not be written with the older ones.
func TestATakeoverLooksForSchemasAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(everyShift("A"))
		r := run(t, w, "worker")
		looks := func(claim string, want int) {
			t.Helper()
			synctest.Wait()
			w.mu.Lock()
			defer w.mu.Unlock()
			if r.looks != want {
				t.Errorf("%s: looked %d times, want %d", claim, r.looks, want)
			}
		}
		looks("at first", 1)
		<-time.After(35 * time.Second)
		looks("while it works on", 1)
		w.mu.Lock()
		w.lease.Owner = shiftsync.Owner{Token: "other", Name: "other"}
		w.lease.until = time.Now().Add(13 * time.Second)
		w.mu.Unlock()
		<-time.After(30 * time.Second)
		looks("after another worker had the lease", 2)
		if err := r.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestTroubleWithTheLeaseIsToldAgainAndAgainButNotAllTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		i := &incarnation{world: w, name: "worker"}
		worker, leases := i.worker(), &deafLeases{Store: store{i}}
		worker.Store, worker.Sleep = leases, time.Second
		leases.deaf.Store(true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_ = worker.Run(ctx)
		if n := len(i.done); n < 5 || n > 7 {
			t.Errorf("told %d times in a minute", n)
		}
		if i.unanswered < 29 { // each time, as a sign of life
			t.Errorf("told %d times that there was no answer", i.unanswered)
		}
	})
}

func TestALossOfEverythingIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(everyShift("A"))
		r := run(t, w, "worker")
		<-time.After(time.Second)
		w.mu.Lock()
		empty := newWorld()
		w.lease, w.term, w.shifts, w.intents, w.aside, w.layout, w.ends = empty.lease, empty.term, empty.shifts, empty.intents, empty.aside, empty.layout, empty.ends
		w.mu.Unlock()
		<-time.After(30 * time.Second)
		synctest.Wait()
		told := 0
		r.note(func() {
			for _, rep := range r.reports {
				for _, notice := range rep.Notices {
					if strings.Contains(notice, "has forgotten all") {
						told++
					}
				}
			}
		})
		if told != 1 {
			t.Errorf("told %d times", told)
		}
		if err := r.stop(); err != nil {
			t.Error(err)
		}
		inStep(t, w)
	})
}

func TestALostLeaseIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(everyShift("A"))
		r := run(t, w, "worker")
		<-time.After(5 * time.Second) // it waits for its next pass
		w.mu.Lock()
		w.lease.Owner = shiftsync.Owner{Token: "other", Name: "other"}
		w.lease.until = time.Now().Add(time.Hour)
		w.mu.Unlock()
		<-time.After(5 * time.Second)
		synctest.Wait()
		r.note(func() {
			if r.losses != 1 || r.standbys == 0 {
				t.Errorf("lost %d times, stood by %d times", r.losses, r.standbys)
			}
		})
		if err := r.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestAFailedPassIsNotRepeatedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(everyShift("A"))
		w.readAt = func(int) error { return errLost }
		i := &incarnation{world: w, name: "worker"}
		worker := i.worker()
		worker.Sleep = 0
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := worker.Run(ctx); err != nil {
			t.Error(err)
		}
		if n := len(i.done); n < 9 || n > 11 {
			t.Errorf("%d passes in 10 s", n)
		}
	})
}

func TestAStopEndsTheSettlingOfOldIntents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(many(100, "A"))
		crash := &incarnation{world: w, name: "crash", plan: func(_ int, name string) fault {
			if name == "publish" {
				return crashBefore
			}
			return ""
		}}
		_, _ = crash.worker().RunOnce(t.Context())
		open := len(w.intents)
		sent := 0
		w.onSend = func() {
			sent++
			<-time.After(time.Second)
		}
		r := run(t, w, "worker")
		<-time.After(14500 * time.Millisecond) // the dead one's lease, and a page or two
		began := time.Now()
		if err := r.stop(); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 2*time.Second || sent == 0 || len(w.intents) == 0 || len(w.intents) == open {
			t.Errorf("stopped after %s and %d pages; %d of %d intents stand", took, sent, len(w.intents), open)
		}
	})
}

func TestTheLeaseIsKeptThroughALongPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(everyShift("A"))
		w.onSend = func() { <-time.After(5 * time.Minute) }
		first, second := run(t, w, "first"), run(t, w, "second")
		<-time.After(10 * time.Minute)
		if a, b := first.passes(), second.passes(); a*b != 0 || a+b == 0 {
			t.Errorf("both did passes: %d and %d", a, b)
		}
		if err := errors.Join(first.stop(), second.stop()); err != nil {
			t.Error(err)
		}
	})
}

func TestPastItsLeaseAWorkerSendsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(everyShift("A"))
		i := &incarnation{world: w, name: "worker"}
		i.plan = func(_ int, name string) fault {
			if name == "intend" {
				return paused
			}
			return ""
		}
		i.meanwhile = func() { <-time.After(13 * time.Second) }
		w.leaves["no-lease-check"] = true // the store would refuse: here the worker's own clock has to
		rep, err := i.worker().RunOnce(t.Context())
		if !errors.Is(err, shiftsync.ErrLeaseLost) || rep.Published != 0 || w.last(1) != "" {
			t.Errorf("got %+v, %v, topic %q", rep.Tally, err, w.last(1))
		}
	})
}

func TestARivalOutsideThisRedisIsMetWithGrowingDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(everyShift("A"))
		r := run(t, w, "worker")
		for n := range 100 {
			<-time.After(10 * time.Second)
			w.mu.Lock()
			w.epoch++ // the rival takes over and writes
			w.fence = [partitions]int{w.epoch, w.epoch}
			for id := range w.api {
				w.api[id] = string(rune('B' + n))
			}
			w.mu.Unlock()
		}
		if err := r.stop(); err != nil {
			t.Error(err)
		}
		var pauses []time.Duration // after a pass that was fenced
		for n, err := range r.done[:len(r.done)-1] {
			if errors.Is(err, shiftsync.ErrFenced) {
				pauses = append(pauses, r.ended[n+1].Sub(r.ended[n]))
			}
		}
		if len(pauses) < 4 || !slices.IsSorted(pauses) || pauses[0] < 20*time.Second || pauses[3] < 100*time.Second {
			t.Errorf("it paused %v", pauses)
		}
	})
}

func TestWhatFailsIsToldAndTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(everyShift("A"))
		i := &incarnation{world: w, name: "worker"}
		i.plan = func(n int, _ string) fault {
			if n < 3 { // Redis away: no lease
				return noEffect
			}
			return ""
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- i.worker().Run(ctx) }()
		<-time.After(35 * time.Second)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if len(i.done) < 4 || i.done[0] == nil || i.done[3] != nil {
			t.Errorf("got %v", i.done)
		}
		inStep(t, w)
	})
}

// Before it can claim anything a worker is the one who holds the lease, and knows what waits.
func TestATakeoverIsToldBeforeItCanClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(everyShift("A"))
		first := &incarnation{world: w, name: "first"}
		if _, err := first.worker().RunOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
		inStep := time.Now()
		<-time.After(time.Minute)
		w.set(everyShift("B"))
		first.plan = func(_ int, name string) fault {
			if name == "publish" {
				return crashBefore
			}
			return ""
		}
		if _, err := first.worker().RunOnce(t.Context()); err == nil {
			t.Fatal("a crash was no error")
		}
		w.away = true
		<-time.After(13 * time.Second)
		second := &incarnation{world: w, name: "second"}
		rep, err := second.worker().RunOnce(t.Context())
		if err == nil || rep.Pending != len(ids) {
			t.Errorf("got %d pending, %v, want %d", rep.Pending, err, len(ids))
		}
		want := shiftsync.Standing{Open: len(ids), InStep: inStep}
		if len(second.acquired) != 1 || second.acquired[0] != want {
			t.Errorf("got %+v, want %+v once", second.acquired, want)
		}
	})
}

func TestOnlyAPassThatLeavesNothingUndoneIsNotedAsInStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		i := &incarnation{world: w, name: "worker"}
		began := time.Now()
		pass := func(claim string, never bool, want time.Time) {
			t.Helper()
			_, _ = i.worker().RunOnce(t.Context())
			if w.never != never || !w.inStep.Equal(want) {
				t.Errorf("%s: got %s, never %v, want %s, %v", claim, w.inStep, w.never, want, never)
			}
			<-time.After(time.Minute)
		}
		w.away = true
		pass("nothing was ever done", true, began)
		w.away = false
		good := time.Now()
		pass("all is done", false, good)
		w.refuse["B"], w.badShare = "too large", 0.1
		w.set(everyShift("B"))
		pass("too many are bad", false, good)
		w.set(everyShift("C"))
		w.limit = 1
		pass("the limit", false, good)
		w.limit = 0
		good = time.Now()
		pass("all is done again", false, good)
	})
}

// refusing is a Redis that refuses whoever asks for the lease, just when the worker is told to stop.
type refusing struct {
	shiftsync.Store
	stop context.CancelFunc
}

func (r refusing) Acquire(context.Context, shiftsync.Owner, time.Duration) (shiftsync.Standing, error) {
	r.stop()
	return shiftsync.Standing{}, errors.New("WRONGPASS")
}

func TestAStopIsCleanThoughTheLeaseIsRefusedAtThatMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		worker := (&incarnation{world: w, name: "worker"}).worker()
		ctx, stop := context.WithCancel(t.Context())
		worker.Store = refusing{worker.Store, stop}
		if err := worker.Run(ctx); err != nil {
			t.Errorf("got %v", err)
		}
	})
}
