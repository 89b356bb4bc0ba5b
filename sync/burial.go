package shiftsync

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"
)

// A dead letter is kept as a record is: from the step that sets its shift aside it stands in the store, until it is
// acknowledged. So letters go out at the end of a pass, when all that is good has had its turn, and a topic that takes
// none of them, for however long, holds up nothing and loses nothing.

const (
	// buryPatience is how long a pass waits in vain for dead letters to be taken, and buryTurn how long it hands them
	// over at all, but for what is in hand: the next pass waits for its end.
	buryPatience = 10 * time.Second
	buryTurn     = 20 * time.Second
	// letterBytes is how much of letters is kept in one step, save for a single one that is larger.
	letterBytes = 4 << 20
)

// burial is what a pass knows of dead letters.
type burial struct {
	waiting int   // letters that stand in the store
	tried   bool  // whether they were handed over
	first   int64 // shift of the first one that was not acknowledged; 0: it has no id
	err     error // why it was not
}

// countLetters looks how many letters earlier passes have left.
func (p *pass) countLetters(ctx context.Context) (err error) {
	if p.DeadLetters == nil {
		return nil
	}
	if p.burial.waiting, err = p.Store.CountLetters(ctx); err != nil {
		return fmt.Errorf("count dead letters: %w", err)
	}
	return nil
}

// addressed gives those that are to be set aside their letters, as many as there is room for: PendingLimit of them may
// wait. The others are left as they are, for the next pass to meet again.
func (p *pass) addressed(aside []Settled, letters []DeadLetter) []Settled {
	room := max(0, p.PendingLimit-p.burial.waiting)
	if len(aside) > room {
		p.count(Tally{NotCollected: len(aside) - room})
		if slices.ContainsFunc(aside[room:], func(s Settled) bool { return s.Mark != 0 }) {
			p.t.doubt.Store(true) // no batch in hand will end its intent
		}
		aside = aside[:room]
	}
	now := time.Now()
	for i := range aside {
		l := &letters[i]
		l.Raw, l.Pass, l.Time = aside[i].Raw, p.id, now
		aside[i].Letter = l
	}
	p.burial.waiting += len(aside)
	return aside
}

// inSteps cuts those that are set aside into what is kept in one step.
func inSteps(aside []Settled) iter.Seq[[]Settled] {
	return func(yield func([]Settled) bool) {
		from, size := 0, 0
		for i, s := range aside {
			n := len(s.Letter.Key) + len(s.Letter.Body)
			if size += n; size > letterBytes && i > from {
				if !yield(aside[from:i]) {
					return
				}
				from, size = i, n
			}
		}
		if from < len(aside) {
			yield(aside[from:])
		}
	}
}

// bury hands over the letters that wait, and ends the waiting of those that were acknowledged. It goes on where the pass
// before gave up, so that some which nobody takes do not keep the others from having their turn.
func (p *pass) bury(stop, ctx context.Context) error {
	if p.burial.waiting == 0 || p.away {
		return nil
	}
	p.burial.tried = true
	inVain := time.Duration(0)
	for turn := time.Now(); inVain < buryPatience && time.Since(turn) < buryTurn && stop.Err() == nil; {
		letters, next, err := p.Store.Letters(ctx, p.t.letters)
		if err != nil {
			return fmt.Errorf("load dead letters: %w", err)
		}
		if len(letters) > 0 {
			began := time.Now()
			buried, err := p.DeadLetters.Bury(ctx, p.t, letters)
			if err != nil {
				inVain += time.Since(began)
			}
			if err := p.delivered(ctx, letters, buried, err); err != nil {
				return err
			}
		}
		if p.t.letters = next; next == 0 {
			break
		}
	}
	return p.countLetters(ctx)
}

// delivered ends the waiting of the buried ones among letters. Why is the reason for which the others are not.
func (p *pass) delivered(ctx context.Context, letters []DeadLetter, buried []bool, why error) error {
	var done []DeadLetter
	for i, l := range letters {
		switch {
		case buried[i]:
			done = append(done, l)
		case p.burial.err == nil:
			p.burial.first, p.burial.err = l.ID, why
		}
	}
	if len(done) == 0 {
		return nil
	}
	// As what is remembered: it is acknowledged already.
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.lastStep())
	defer cancel()
	if err := p.Store.Delivered(bounded, p.t.term, done); err != nil {
		return fmt.Errorf("drop %d dead letters that were acknowledged: %w", len(done), err)
	}
	p.count(Tally{Buried: len(done)})
	return nil
}

// result is nil if no letter waits.
func (b *burial) result() error {
	switch {
	case b.waiting == 0:
		return nil
	case !b.tried:
		return fmt.Errorf("%d dead letters wait: not tried while the broker is away", b.waiting)
	case b.err == nil:
		return fmt.Errorf("%d dead letters wait: for the next pass, or for the release that wrote them", b.waiting)
	case b.first == 0:
		return fmt.Errorf("%d dead letters wait, the first of a shift without an id: %w", b.waiting, b.err)
	}
	return fmt.Errorf("%d dead letters wait, the first of shift %d: %w", b.waiting, b.first, b.err)
}
