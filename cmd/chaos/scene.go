//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/slotsync/slotsync/publish/publishtest"
)

// scene is where a fault strikes: all that it may touch, and chance, which is the same in each run with the same seed.
type scene struct {
	ctx   context.Context
	stack *stack
	crew  *crew
	truth *truth
	books *accounts
	score *score
	r     *rand.Rand

	changed []*shift // last
	stirred bool     // something was done to the brokers, or on the way to them
}

// replaceWithin is how long it may take until another worker has the lease of a dead one.
const replaceWithin = 20 * time.Second

// wait returns nil after d, or why the run has ended before.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// until asks again and again, until the answer is yes.
func until(ctx context.Context, limit, every time.Duration, yes func() bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errPatience)
	defer cancel()
	for !yes() {
		if err := wait(ctx, every); err != nil {
			return err
		}
	}
	return nil
}

var errPatience = errors.New("not in time")

// between is a span by chance.
func (s *scene) between(least, most time.Duration) time.Duration {
	return least + time.Duration(s.r.Int64N(int64(most-least)+1))
}

// pause lets a while pass. Who goes on after the end of the run finds out by itself.
func (s *scene) pause(least, most time.Duration) { _ = wait(s.ctx, s.between(least, most)) }

// holder returns the worker that holds the lease.
func (s *scene) holder() (w *worker, err error) {
	err = until(s.ctx, time.Minute, 50*time.Millisecond, func() bool {
		pid, err := s.stack.holder(s.ctx)
		if err == nil {
			w = s.crew.of(pid)
		}
		return w != nil
	})
	if errors.Is(err, errPatience) {
		return nil, violated("no worker takes the lease: none has it after a minute")
	}
	return w, err
}

// burst changes many shifts at once and returns when some of that is about to be published: in the middle of a batch,
// as far as that can be seen from outside.
func (s *scene) burst() error {
	linger := max(0, s.between(-8*time.Millisecond, 12*time.Millisecond)) // every other time there is none
	s.change()
	if err := s.sending(); err != nil {
		return err
	}
	return wait(s.ctx, linger)
}

// change changes many shifts at once.
func (s *scene) change() {
	s.changed = s.truth.pick(s.r, 300+s.r.IntN(1200))
	s.truth.edit(s.changed)
}

// sending waits until a batch is on its way to a broker. It is for some hundredths of a second: whoever misses it has
// another chance with the next change, and a fault that meets none is a case of its own.
func (s *scene) sending() error {
	err := until(s.ctx, 15*time.Second, 500*time.Microsecond, func() bool {
		for _, f := range s.stack.flying {
			if f.count() > 0 {
				return true
			}
		}
		return false
	})
	if errors.Is(err, errPatience) {
		return nil
	}
	return err
}

// midBatch returns the holder, in the middle of a batch.
func (s *scene) midBatch() (*worker, error) {
	w, err := s.holder()
	if err != nil {
		return nil, err
	}
	return w, s.burst()
}

// revert takes back what was changed last.
func (s *scene) revert() { s.truth.revert(s.changed) }

// perhapsRevert does so in half of all cases.
func (s *scene) perhapsRevert() {
	if s.r.IntN(2) == 0 {
		s.revert()
	}
}

// kill kills a worker, and notes whether it had a batch on its way.
func (s *scene) kill(w *worker) error {
	s.crew.note(w.memory())
	_ = w.pause() // so that nothing comes between looking and killing; it may be paused already
	if s.stack.flying[w.slot].count() > 0 {
		s.score.inFlight++
	}
	w.kill()
	s.score.kills++
	return s.buried()
}

// buried notes what a worker that has just ended left behind: nobody else has the lease yet, or has had the time to
// claim its intents.
func (s *scene) buried() error {
	ids, err := s.stack.standing(s.ctx)
	if err != nil {
		return fmt.Errorf("look at intents: %w", err)
	}
	s.books.died(s.truth.left(ids))
	return nil
}

// stop asks a worker to end, and notes what it left behind.
func (s *scene) stop(w *worker) error {
	took, err := w.stop(31 * time.Second)
	if err != nil {
		return err
	}
	s.score.stops = append(s.score.stops, took)
	return s.buried()
}

// takenOver waits until another worker has the lease. On a machine that is too slow for all of this, time counts only as
// far as we get to look: neither do the workers.
func (s *scene) takenOver(from *worker) error {
	const every = 20 * time.Millisecond
	began, looked := time.Now(), time.Duration(0)
	err := until(s.ctx, 10*replaceWithin, every, func() bool {
		looked += every
		pid, err := s.stack.holder(s.ctx)
		return err == nil && pid != from.pid || looked > replaceWithin
	})
	took := time.Since(began)
	if errors.Is(err, errPatience) || err == nil && looked > replaceWithin {
		return violated("a dead worker is replaced within %s: process %d was not after %s", replaceWithin, from.pid, took.Round(time.Second))
	}
	s.score.takeovers = append(s.score.takeovers, took)
	return err
}

// replaced waits until another worker has the lease, and starts one in the place of the dead one.
func (s *scene) replaced(dead *worker) error {
	if err := s.takenOver(dead); err != nil {
		return err
	}
	_, err := s.crew.start(dead.slot)
	return err
}

// inPass changes many shifts and does something when the holder asks the API for them: when it has found all well with
// the brokers, and has sent them nothing yet. It returns when some of the changes are about to be published.
func (s *scene) inPass(do func(holder *worker) (undo, error)) (*worker, undo, error) {
	w, err := s.holder()
	if err != nil {
		return nil, nil, err
	}
	type deed struct {
		undo undo
		err  error
	}
	done := make(chan deed, 1)
	s.change()
	s.stack.asked.set(func() {
		u, err := do(w)
		done <- deed{u, err}
	})
	select {
	case d := <-done:
		if d.err != nil {
			return nil, nil, d.err
		}
		return w, d.undo, s.sending()
	case <-time.After(recoverWithin):
		return nil, nil, violated("a worker hangs: the API was not asked within %s", recoverWithin)
	case <-s.ctx.Done():
		return nil, nil, context.Cause(s.ctx)
	}
}

// holdRecords makes what the holder sends to the brokers stay on its way, with records of a burst among it.
func (s *scene) holdRecords() (holder *worker, release undo, err error) {
	holder, release, err = s.inPass(func(w *worker) (undo, error) {
		s.stirred = true
		return onAll(s.stack.toBrokers[w.slot], func(r *road) (undo, error) { return r.delay(there, time.Hour) })
	})
	if err != nil {
		return nil, nil, err
	}
	return holder, release, wait(s.ctx, s.between(100*time.Millisecond, 3*time.Second))
}

// someBrokers returns n brokers, by chance.
func (s *scene) someBrokers(n int) (some []*publishtest.Broker) {
	for _, i := range s.r.Perm(len(s.stack.brokers.Nodes))[:n] {
		some = append(some, s.stack.brokers.Nodes[i])
	}
	return some
}

func (s *scene) leader() (*publishtest.Broker, error) { return s.stack.brokers.Leader(s.ctx, topic) }

// inSync waits until the brokers have recovered.
func (s *scene) inSync() error {
	return s.stack.brokers.InSync(s.ctx, topic, len(s.stack.brokers.Nodes))
}

// collected waits until the newest versions of the shifts stand in intents.
func (s *scene) collected(some []*shift) error {
	waiting := s.truth.newestOf(some)
	err := until(s.ctx, time.Minute, 100*time.Millisecond, func() bool {
		intended, err := s.stack.intended(s.ctx, idsOf(some))
		if err == nil {
			waiting = s.truth.unseen(waiting, intended)
		}
		return len(waiting) == 0
	})
	if errors.Is(err, errPatience) {
		return violated("changes are collected while Kafka is away: %d of %d are not after a minute", len(waiting), len(some))
	}
	return err
}

// moveAway takes shifts out of the window.
func (s *scene) moveAway(some []*shift) error {
	intended, err := s.stack.intended(s.ctx, idsOf(some))
	if err != nil {
		return fmt.Errorf("look at intents: %w", err)
	}
	s.truth.turn(some, away, intended)
	return nil
}

// turn makes shifts something else. While Redis does not tell what was seen of them, they need not have been.
func (s *scene) turn(some []*shift, into kind) {
	intended, _ := s.stack.intended(s.ctx, idsOf(some))
	s.truth.turn(some, into, intended)
}

func idsOf(some []*shift) []int64 {
	ids := make([]int64, len(some))
	for i, s := range some {
		ids[i] = s.base.ID
	}
	return ids
}
