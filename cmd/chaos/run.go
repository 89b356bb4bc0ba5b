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
	recoverWithin = 2 * time.Minute // in which something has to arrive, if anything is to, and the longest pass
	restEvery     = 4               // strikes
	hurryEvery    = 3 * time.Second
)

// run is one run: what is tried, and what watches it.
type run struct {
	options
	out    *narrator
	stack  *stack
	crew   *crew
	truth  *truth
	churn  *churn
	books  *accounts
	oracle *oracle
	score  score

	rounds int
	round  mode
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
	r := &run{options: o, out: &narrator{w: stdout, began: time.Now()}, books: newAccounts()}
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
	env := func(slot int) []string { return r.stack.env(slot, r.round) }
	r.crew = &crew{binary: binary, dir: o.Logs, env: env, least: r.truth.least, fail: end, ended: r.books.ended}
	defer r.crew.close()
	if r.oracle, err = newOracle(r.truth, r.books, r.stack); err != nil {
		return err
	}

	var watchers sync.WaitGroup
	watching, halt := context.WithCancel(ctx)
	watch := func(do func(context.Context) error) {
		watchers.Go(func() {
			if err := do(watching); err != nil {
				end(err)
			}
		})
	}
	watch(r.oracle.read)
	err = r.strike(ctx, watch)
	halt()
	watchers.Wait()
	if cause := context.Cause(ctx); cause != nil {
		err = cause // which came first
	}
	r.score.print(stdout, time.Since(r.out.began), r.books, r.truth.counted(), r.crew.heard(), err)
	return err
}

// strike lets faults happen for as long as is wanted, and sees to it that all is well again after each.
func (r *run) strike(ctx context.Context, watch func(func(context.Context) error)) error {
	if err := r.begin(ctx, watch); err != nil {
		return err
	}
	p := newPlan(r.Seed, r.Only)
	for end := r.out.began.Add(r.For); time.Now().Before(end); {
		f, chance := p.next()
		s := r.scene(ctx, chance)
		began := time.Now()
		if err := f.do(s); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		lasted := time.Since(began)
		recovery, err := settle(ctx, r.truth, r.truth.debts(r.truth.soon), r.truth.soon)
		if err != nil {
			return fmt.Errorf("after %q: %w", f.name, err)
		}
		if s.stirred {
			r.books.stir(span{began, time.Now()})
		}
		r.score.strikes = append(r.score.strikes, strike{f.name, lasted, recovery})
		r.out.say("%s: %s, in step %s later", f.name, seconds(lasted), seconds(recovery))
		s.pause(0, 2*time.Second)
		if len(r.score.strikes)%restEvery == 0 {
			if err := r.rest(ctx, true); err != nil {
				return err
			}
		}
	}
	if err := r.rest(ctx, false); err != nil {
		return err
	}
	return r.enough()
}

// scene is where the next fault strikes.
func (r *run) scene(ctx context.Context, chance *rand.Rand) *scene {
	return &scene{ctx: ctx, stack: r.stack, crew: r.crew, truth: r.truth, books: r.books, score: &r.score, r: chance}
}

// begin brings two workers to work, at first without a topic for dead letters, though some shifts are bad.
func (r *run) begin(ctx context.Context, watch func(func(context.Context) error)) error {
	good := r.truth.debts(r.truth.soon)
	bad := r.truth.pickOf(rand.New(rand.NewPCG(r.Seed, 8)), 10, listed)
	r.truth.turn(bad, unreadable, nil)
	if err := r.employ(); err != nil {
		return err
	}
	took, err := settle(ctx, r.truth, good, r.truth.soon)
	if err != nil {
		return err
	}
	r.out.say("two workers at work; %d shifts in step after %s", r.Shifts, seconds(took))
	if err := r.stack.find(ctx); err != nil {
		return err
	}
	if err := r.stack.brokers.CreateTopic(ctx, lettersTopic, nil); err != nil {
		return err
	}
	post, err := newPostman(r.truth, r.books, r.stack)
	if err != nil {
		return err
	}
	watch(post.read)
	watch(r.measure)
	watch(r.churn.run)
	return nil
}

// employ starts two workers, which do about deletions what it is the next round's turn to try: every other round they send
// tombstones, and in those between they do what the seed says.
func (r *run) employ() error {
	r.round = deletesTombstone
	if r.rounds%2 == 1 {
		r.round = [...]mode{deletesOff, deletesUpdate}[(r.Seed+uint64(r.rounds)/2)%2]
	}
	r.rounds++
	r.truth.set(r.round)
	r.out.say("SYNC_DELETES=%s", r.round)
	for slot := range 2 {
		if _, err := r.crew.start(slot); err != nil {
			return err
		}
	}
	return nil
}

// settle waits until debts are paid, and returns how long that took. It gives up when none was for long.
func settle(ctx context.Context, t *truth, due []debt, newest func(*shift) int) (time.Duration, error) {
	began := time.Now()
	for {
		last := len(due)
		err := until(ctx, recoverWithin, 50*time.Millisecond, func() bool {
			due = t.remaining(due, newest)
			return len(due) < last || len(due) == 0
		})
		switch {
		case errors.Is(err, errPatience):
			return 0, violated("lost: %d changes have not arrived, and none has for %s; %s", len(due), recoverWithin, t.tell(due))
		case err != nil:
			return 0, err
		case len(due) == 0:
			return time.Since(began), nil
		}
	}
}

// rest stops all change, until topic and truth have to be the same, and looks whether they are. After that nothing may
// come any more. Then other workers may take the places of those that there are.
func (r *run) rest(ctx context.Context, replace bool) error {
	r.churn.mu.Lock()
	defer r.churn.mu.Unlock()
	if _, err := settle(ctx, r.truth, r.truth.debts(r.truth.due), r.truth.due); err != nil {
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
	const three = 3 // the first one was under way
	if err := r.crew.pass(ctx, three); err != nil {
		return err
	}
	arrived := r.books.arrived()
	if err := r.crew.pass(ctx, three); err != nil {
		return err
	}
	if now := r.books.arrived(); now != arrived {
		return violated("nothing that did not change is sent: %d records and %d dead letters came while nothing happened",
			now.records-arrived.records, now.buried-arrived.buried)
	}
	if left := r.truth.debts(r.truth.due); len(left) > 0 {
		return violated("lost: %d changes are not the last of their key any more; %s", len(left), r.truth.tell(left))
	}
	r.score.rests++
	if err := r.books.judge(); err != nil || !replace {
		return err
	}
	return r.replace(ctx)
}

// replace stops all workers and starts others, which are set otherwise. What was deleted before is due then.
func (r *run) replace(ctx context.Context) error {
	s := r.scene(ctx, nil)
	for _, w := range r.crew.alive() {
		if err := s.stop(w); err != nil {
			return err
		}
	}
	return r.employ()
}

// enough is an error unless the run has shown what it is to show, for which half of the kills have to come in mid-batch.
func (r *run) enough() error {
	if len(r.Only) == 0 && (r.score.kills < int(r.For.Minutes())/2 || 2*r.score.inFlight < r.score.kills) {
		return fmt.Errorf("too little was tried: %d kills, of which %d met a batch on its way, want one in two minutes and half of them with one", r.score.kills, r.score.inFlight)
	}
	return nil
}

// measure looks at how much memory the workers have, and sees to it that missing shifts are asked for more often than each
// minute.
func (r *run) measure(ctx context.Context) error {
	for wait(ctx, hurryEvery) == nil {
		r.crew.measure()
		if r.truth.asks() {
			_ = r.stack.hurry(ctx) // Redis may be away
		}
	}
	return nil
}
