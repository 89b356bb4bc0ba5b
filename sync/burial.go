package shiftsync

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// buryPatience is how long a pass waits in vain for dead letters to be taken: good shifts stand in line behind them.
const buryPatience = 10 * time.Second

// burial is what a pass knows of dead letters that were not acknowledged.
type burial struct {
	inVain time.Duration // how long they were waited for
	vain   error         // why the last of them were not taken
	first  int64         // shift of the first one; 0: it has no id
	err    error         // why that one was not acknowledged; nil: all were
}

var errBrokerAway = errors.New("not tried while the broker is away")

// bury hands letters over, and returns those of the shifts, which have a letter each, that may now be remembered as set
// aside. Of the others an intent stands, or nothing is known, so that the next pass meets them again.
func (p *pass) bury(ctx context.Context, aside []Settled, letters []DeadLetter) (done []Settled) {
	if len(letters) == 0 {
		return nil
	}
	buried, err := p.tryToBury(ctx, letters)
	for i, s := range aside {
		if buried[i] {
			done = append(done, s)
			continue
		}
		if s.Mark != 0 {
			p.t.doubt.Store(true) // no batch in hand will end its intent
		}
		if p.burial.err == nil {
			p.burial.first, p.burial.err = s.ID, err
		}
	}
	p.count(Tally{Buried: len(done), Unburied: len(letters) - len(done)})
	return done
}

// tryToBury hands letters over, unless that was tried for long enough.
func (p *pass) tryToBury(ctx context.Context, letters []DeadLetter) (buried []bool, err error) {
	switch {
	case p.away:
		return make([]bool, len(letters)), errBrokerAway
	case p.burial.inVain >= buryPatience:
		return make([]bool, len(letters)), p.burial.vain
	}
	began := time.Now()
	buried, err = p.DeadLetters.Bury(ctx, p.t, p.id, letters)
	if err != nil {
		p.burial.inVain, p.burial.vain = p.burial.inVain+time.Since(began), err
	}
	return buried, err
}

// result is nil if so many letters that were not acknowledged are none.
func (b *burial) result(unburied int) error {
	if unburied == 0 {
		return nil
	}
	first := "the first has no id"
	if b.first != 0 {
		first = fmt.Sprintf("the first is shift %d", b.first)
	}
	return fmt.Errorf("dead letters not acknowledged, and their shifts not set aside: %d, %s: %w", unburied, first, b.err)
}
