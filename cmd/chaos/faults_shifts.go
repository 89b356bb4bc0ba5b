//go:build linux

package main

import (
	"errors"
	"time"

	"github.com/slotsync/slotsync/wiw/wiwtest"
)

// What happens to shifts: they vanish, come back, and go bad.

// killInRollCall deletes shifts and kills the holder when it has been told of each of them that there is none: what it
// found out has to outlive it.
func killInRollCall(s *scene) error {
	w, err := s.holder()
	if err != nil {
		return err
	}
	some := s.truth.pickOf(s.r, 10+s.r.IntN(15), listed)
	linger := s.between(0, 15*time.Millisecond)
	if err := s.vanish(some); err != nil {
		return err
	}
	if err := wait(s.ctx, linger); err != nil {
		return err
	}
	if err := s.kill(w); err != nil {
		return err
	}
	if s.r.IntN(3) == 0 {
		s.turn(some[:len(some)/2], listed)
	}
	return s.replaced(w)
}

// killWithHeldTombstones lets the tombstones of a dead worker arrive late, when another one has been at work: behind
// shifts that were restored, the broker has to refuse them, and the others have to come anew.
func killWithHeldTombstones(s *scene) error {
	if s.truth.mode() != deletesTombstone {
		return killWithHeldRecords(s)
	}
	w, err := s.holder()
	if err != nil {
		return err
	}
	s.stirred = true
	some := s.truth.pickOf(s.r, 10+s.r.IntN(15), listed)
	var (
		release = func() error { return nil }
		failed  error
		held    = make(chan struct{})
	)
	s.stack.one.first.set(func() {
		defer close(held)
		u, err := onAll(s.stack.toBrokers[w.slot], func(r *road) (undo, error) { return r.delay(there, time.Hour) })
		if failed = err; err == nil {
			release = u
		}
	})
	if err := s.vanish(some); err != nil {
		return err
	}
	if s.stack.one.first.set(nil) { // nobody has asked
		close(held)
	}
	<-held
	if failed != nil {
		return failed
	}
	if err := s.sending(); err != nil {
		return err
	}
	s.pause(0, 2*time.Second)
	if err := s.kill(w); err != nil {
		return err
	}
	s.turn(some[:s.r.IntN(len(some))], listed)
	if err := s.replaced(w); err != nil {
		return err
	}
	s.pause(0, 4*time.Second)
	return release()
}

// askedWithin is for how long a fault waits until missing shifts are asked for. That they are not is a case of its own:
// who had trouble with the API waits.
const askedWithin = 20 * time.Second

// vanish deletes shifts and waits until the workers, if they ask, have been told so of each.
func (s *scene) vanish(some []*shift) error {
	s.stack.one.forget()
	s.turn(some, gone)
	return s.asked(some)
}

// asked waits until the workers, if they ask, have had an answer about each of the shifts by itself.
func (s *scene) asked(some []*shift) error {
	if !s.truth.asks() {
		return nil
	}
	ids := idsOf(some)
	err := until(s.ctx, askedWithin, 500*time.Microsecond, func() bool { return s.stack.one.answered(ids) == len(ids) })
	if errors.Is(err, errPatience) {
		return nil
	}
	return err
}

// vanishInOutage deletes shifts while nothing can be published, and restores some of them when that was noticed.
func vanishInOutage(s *scene) error {
	if _, err := s.holder(); err != nil {
		return err
	}
	wake, err := s.hang(s.someBrokers(2))
	if err != nil {
		return err
	}
	some := s.truth.pickOf(s.r, 25, listed)
	s.truth.edit(some[:5])
	if err := s.vanish(some); err != nil {
		return err
	}
	s.pause(0, 3*time.Second)
	s.turn(some[:s.r.IntN(len(some))], listed)
	s.pause(0, 3*time.Second)
	if err := wake(); err != nil {
		return err
	}
	return s.inSync()
}

// veilVanished makes shifts leave the list, some of them deleted, while the API does not say what became of them.
func veilVanished(answer wiwtest.Fault) func(s *scene) error {
	return func(s *scene) error {
		some := s.truth.pickOf(s.r, 12, listed)
		s.truth.veil(some, answer)
		s.stack.one.forget()
		s.turn(some[:6], gone)
		s.turn(some[6:], unlisted)
		s.change()
		if err := s.asked(some); err != nil {
			return err
		}
		s.pause(time.Second, 4*time.Second)
		s.turn(some[6:9], listed)
		s.truth.unveil(some)
		return nil
	}
}

// shortList makes the API list a few shifts as if they were all, and say of each other one that there is none. No worker
// may believe that.
func shortList(s *scene) error {
	s.truth.cutShort(1)
	s.stack.api.Fail(-1, wiwtest.Altered(func(a *wiwtest.Answer) { a.Shifts = a.Shifts[:len(a.Shifts)/5] }))
	if err := s.crew.pass(s.ctx, 2); err != nil { // who read all of it may still be asking, and is to be told the truth
		return err
	}
	s.stack.one.deny(true)
	s.pause(4*time.Second, 8*time.Second)
	s.stack.one.deny(false)
	s.stack.api.Heal()
	if err := s.crew.pass(s.ctx, 2); err != nil {
		return err
	}
	s.truth.cutShort(-1)
	return nil
}

// refuseLetters makes shifts go bad while no dead letter is taken. The good ones must not have to wait for that.
func refuseLetters(then func(*scene) error) func(s *scene) error {
	return func(s *scene) error {
		s.stirred = true
		if err := s.stack.brokers.Refuse(s.ctx, lettersTopic, true); err != nil {
			return err
		}
		bad := s.truth.pickOf(s.r, 20, listed)
		s.turn(bad[:10], large)
		s.turn(bad[10:], unreadable)
		if err := then(s); err != nil {
			return err
		}
		good := s.truth.pickOf(s.r, 200, listed)
		s.truth.edit(good)
		if _, err := settle(s.ctx, s.truth, s.truth.newestOf(good), s.truth.soon); err != nil {
			return err
		}
		s.turn(bad[:s.r.IntN(len(bad))], listed)
		s.pause(0, 5*time.Second)
		return s.stack.brokers.Refuse(s.ctx, lettersTopic, false)
	}
}
