//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"time"
)

const (
	recoverWithin = 2 * time.Minute // the longest pause of a worker after a fault, and a pass
	restEvery     = 6               // strikes
)

// run is one run: what is tried, and what watches it.
type run struct {
	options
	out   *narrator
	stack *stack
	crew  *crew
	truth *truth
	churn *churn
	*oracle
	flights
	score score

	before struct { // at the last rest
		repeats, expired int
	}
}

// try does a run in a folder of its own, and returns the *violation that it met, if it did.
func try(ctx context.Context, o options, stdout io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "slotsync-chaos-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if o.Logs == "" {
		o.Logs = dir
	} else if err := os.MkdirAll(o.Logs, 0o700); err != nil {
		return err
	}
	r := &run{options: o, out: &narrator{w: stdout, began: time.Now()}}
	r.out.say("seed %d", o.Seed)

	// What breaks a promise ends the run, wherever it is found.
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	binary, err := build(ctx, dir)
	if err != nil {
		return err
	}
	if r.stack, err = startStack(ctx, dir, o.Jars, r.out); err != nil {
		return err
	}
	defer r.stack.Close()
	r.truth = newTruth(r.stack.api, o.Seed, o.Shifts)
	r.churn = &churn{truth: r.truth, stack: r.stack, rate: o.Rate, r: rand.New(rand.NewPCG(o.Seed, 7))}
	r.crew = &crew{binary: binary, dir: o.Logs, env: r.stack.env, least: r.truth.least, fail: end, doubt: r.flights.end}
	defer r.crew.close()
	if r.oracle, err = newOracle(r.truth, r.stack); err != nil {
		return err
	}

	var watchers sync.WaitGroup
	watching, halt := context.WithCancel(ctx)
	watch := func(do func(context.Context)) { watchers.Go(func() { do(watching) }) }
	watch(func(ctx context.Context) {
		if err := r.read(ctx); err != nil {
			end(err)
		}
	})
	err = r.strike(ctx, watch)
	halt()
	watchers.Wait()
	if cause := context.Cause(ctx); cause != nil {
		err = cause // which came first
	}
	r.score.print(stdout, time.Since(r.out.began), r.arrived(), r.truth.counted(), r.crew.heard(), err)
	return err
}

// strike lets faults happen for as long as is wanted, and sees to it that all is well again after each.
func (r *run) strike(ctx context.Context, watch func(func(context.Context))) error {
	for slot := range 2 {
		if _, err := r.crew.start(slot); err != nil {
			return err
		}
	}
	took, err := r.settle(ctx, r.truth.debts())
	if err != nil {
		return err
	}
	r.out.say("two workers at work; %d shifts in step after %s", r.Shifts, seconds(took))
	if err := r.stack.find(ctx); err != nil {
		return err
	}
	watch(r.measure)
	watch(r.churn.run)

	p := newPlan(r.Seed, r.Only)
	for end := time.Now().Add(r.For); time.Now().Before(end); {
		f, chance := p.next()
		s := &scene{ctx: ctx, stack: r.stack, crew: r.crew, truth: r.truth, score: &r.score, r: chance}
		began := time.Now()
		if err := f.do(s); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		lasted := time.Since(began)
		recovery, err := r.settle(ctx, r.truth.debts())
		if err != nil {
			return fmt.Errorf("after %q: %w", f.name, err)
		}
		r.score.strikes = append(r.score.strikes, strike{f.name, lasted, recovery})
		r.out.say("%s: %s, in step %s later", f.name, seconds(lasted), seconds(recovery))
		s.pause(0, 2*time.Second)
		if len(r.score.strikes)%restEvery == 0 {
			if err := r.rest(ctx); err != nil {
				return err
			}
		}
	}
	if err := r.rest(ctx); err != nil {
		return err
	}
	return r.enough()
}

// settle waits until debts are paid, and returns how long that took.
func (r *run) settle(ctx context.Context, due []debt) (time.Duration, error) {
	began := time.Now()
	err := until(ctx, recoverWithin, 50*time.Millisecond, func() bool {
		due = r.truth.remaining(due)
		return len(due) == 0
	})
	if errors.Is(err, errPatience) {
		return 0, violated("lost: %d changes have not arrived within %s; %s", len(due), recoverWithin, r.truth.tell(due))
	}
	return time.Since(began), err
}

// rest stops all change, until topic and truth have to be the same, and looks whether they are. After that nothing may
// come any more.
func (r *run) rest(ctx context.Context) error {
	r.churn.mu.Lock()
	defer r.churn.mu.Unlock()
	if _, err := r.settle(ctx, r.truth.debts()); err != nil {
		return err
	}
	// In step is what has arrived, and it may yet be repeated, until it is remembered that it has.
	err := until(ctx, recoverWithin, 50*time.Millisecond, func() bool {
		open, err := r.stack.openIntents(ctx)
		return err == nil && open == 0
	})
	if errors.Is(err, errPatience) {
		return violated("what was acknowledged is remembered: intents stand %s after all has arrived", recoverWithin)
	}
	if err != nil {
		return err
	}
	if err := r.twoPasses(ctx); err != nil {
		return err
	}
	arrived := r.arrived()
	if err := r.twoPasses(ctx); err != nil {
		return err
	}
	if more := r.arrived().records - arrived.records; more != 0 {
		return violated("nothing that did not change is sent: %d records came while nothing happened", more)
	}
	if left := r.truth.debts(); len(left) > 0 {
		return violated("lost: %d changes are not the last of their key any more; %s", len(left), r.truth.tell(left))
	}
	r.score.rests++
	return r.judgeRepeats()
}

// twoPasses waits until two passes have begun and ended.
func (r *run) twoPasses(ctx context.Context) error {
	const three = 3 // the first one was under way
	passes := r.crew.heard().passes
	err := until(ctx, recoverWithin, 50*time.Millisecond, func() bool { return r.crew.heard().passes >= passes+three })
	if errors.Is(err, errPatience) {
		return violated("a worker hangs: not three passes within %s", recoverWithin)
	}
	return err
}

// judgeRepeats compares what was repeated since the last rest with what may have been.
func (r *run) judgeRepeats() error {
	now := r.arrived().repeats
	repeats, expired := now-r.before.repeats, r.score.expired-r.before.expired
	flown, doubts := r.flights.settle()
	r.before.repeats, r.before.expired = now, r.score.expired
	r.score.repeats += repeats
	r.score.fair += flown + expired
	if repeats > flown+expired {
		return violated("nothing that did not change is sent again: %d records were, after %d expired, and %d were in flight when acknowledgements were lost, %d times",
			repeats, expired, flown, doubts)
	}
	return nil
}

// enough is an error unless the run has shown what it is to show, for which half of the kills have to come in mid-batch.
func (r *run) enough() error {
	if len(r.Only) == 0 && (r.score.kills < int(r.For.Minutes()) || 2*r.score.inFlight < r.score.kills) {
		return fmt.Errorf("too little was tried: %d kills, of which %d in flight, want one a minute and half of them in flight", r.score.kills, r.score.inFlight)
	}
	return nil
}

// measure looks at what is in flight, and how much memory the workers have.
func (r *run) measure(ctx context.Context) {
	for n := 0; wait(ctx, 20*time.Millisecond) == nil; n++ {
		if open, err := r.stack.openIntents(ctx); err == nil {
			r.flights.see(open)
		}
		if n%50 == 0 {
			r.crew.measure()
		}
	}
}
