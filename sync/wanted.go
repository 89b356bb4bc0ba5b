package shiftsync

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
)

// WantedBatch is how many shifts are read one by one in a pass, each of them a request: those that are wanted and that
// the window did not bring, and then those that are missing.
const WantedBatch = 30

// wantedLook is how many wishes are looked at in a pass.
const wantedLook = 1000

// fetchWanted reads one by one the shifts that were wanted when the pass began and that the window did not bring.
// Trouble with one of them is no trouble of the pass: what is wanted stays wanted. It returns how many it asked for.
func (p *pass) fetchWanted(stop, ctx context.Context, before []int64) (asked int, err error) {
	if len(before) == 0 || int(p.t.open.Load()) >= p.PendingLimit {
		return 0, nil
	}
	wanted, err := p.Store.Wanted(ctx, wantedLook)
	if err != nil {
		return 0, fmt.Errorf("look up wanted shifts: %w", err)
	}
	wanted = slices.DeleteFunc(wanted, func(id int64) bool { return !slices.Contains(before, id) })
	// In any order: one that gives trouble each time must not stand before the others.
	rand.Shuffle(len(wanted), func(i, j int) { wanted[i], wanted[j] = wanted[j], wanted[i] })
	for _, id := range wanted[:min(len(wanted), WantedBatch)] {
		asked++
		var ofSource error
		err := p.stream(stop, ctx, false, func(ctx context.Context, add adder) error {
			ofSource = p.Source.ReadOne(ctx, id, add)
			return ofSource
		})
		var other *LayoutError
		hopeless := errors.Is(ofSource, ErrNoShift) || errors.Is(ofSource, ErrNotShown) || errors.As(err, &other)
		switch {
		case err == nil:
			continue
		case hopeless:
			if e := p.Store.Unwant(ctx, p.t.term, id); e != nil {
				return asked, fmt.Errorf("drop the wish for shift %d: %w", id, e)
			}
		case ofSource == nil || stop.Err() != nil || p.t.Err() != nil:
			return asked, err
		}
		p.notices = append(p.notices, fmt.Sprintf("shift %d, which is wanted again, cannot be had: %v", id, err))
		if !hopeless {
			return asked, nil // the source has trouble; the rest can wait
		}
	}
	return asked, nil
}
