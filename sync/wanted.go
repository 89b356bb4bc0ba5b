package shiftsync

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// WantedBatch is how many shifts are read one by one in a pass, each of them a request: those that are wanted and that
// the window did not bring, and then those that are missing.
const WantedBatch = 30

// askingTime is for how long a pass goes on with the next of them, since the window's changes wait for the next pass.
const askingTime = 10 * time.Second

// wantedLook is how many wishes are looked at in a pass.
const wantedLook = 1000

// fetchWanted reads one by one the shifts that were wanted when the pass began and that the window did not bring.
// Trouble with one of them is no trouble of the pass: what is wanted stays wanted. It returns how many it asked for, and
// those for which a tombstone is due: what is wanted is not remembered, and so it would never be missing.
func (p *pass) fetchWanted(stop, ctx context.Context, before []int64) (asked int, gone []int64, err error) {
	if len(before) == 0 || int(p.t.open.Load()) >= p.PendingLimit {
		return 0, nil, nil
	}
	wanted, err := p.Store.Wanted(ctx, wantedLook)
	if err != nil {
		return 0, nil, fmt.Errorf("look up wanted shifts: %w", err)
	}
	wanted = slices.DeleteFunc(wanted, func(id int64) bool { return !slices.Contains(before, id) })
	// In any order: one that gives trouble each time must not stand before the others.
	rand.Shuffle(len(wanted), func(i, j int) { wanted[i], wanted[j] = wanted[j], wanted[i] })
	for _, id := range wanted[:min(len(wanted), WantedBatch)] {
		if p.askedLong() {
			break
		}
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
		case errors.Is(ofSource, ErrNoShift) && p.Deletes == DeletesTombstone:
			gone = append(gone, id)
			continue
		case hopeless:
			if e := p.Store.Unwant(ctx, p.t.term, id); e != nil {
				return asked, nil, fmt.Errorf("drop the wish for shift %d: %w", id, e)
			}
		case ofSource == nil || stop.Err() != nil || p.t.Err() != nil:
			return asked, nil, err
		}
		p.notices = append(p.notices, fmt.Sprintf("shift %d, which is wanted again, cannot be had: %v", id, err))
		if !hopeless {
			return asked, gone, nil // the source has trouble; the rest can wait
		}
	}
	return asked, gone, nil
}

// askedLong tells whether it is time to end the asking. It begins to count when it is first called.
func (p *pass) askedLong() bool {
	if p.asking.IsZero() {
		p.asking = time.Now()
	}
	return time.Since(p.asking) >= askingTime
}

// declareWanted sends tombstones for shifts that were wanted again and are gone, unless they are too many to believe:
// then the wishes stay. Where the shift never was in the topic, its tombstone does no harm.
func (p *pass) declareWanted(ctx context.Context, gone []int64) error {
	if len(gone) == 0 {
		return nil
	}
	census, err := p.Store.Absent(ctx, p.window, func(int64) bool { return true }, func(Absent) {})
	if err != nil {
		return fmt.Errorf("count remembered shifts: %w", err)
	}
	census.Expected += len(gone) // they are not remembered
	if g := p.guard(census); g.stops(len(gone)) {
		p.notices = append(p.notices, g.warning(len(gone)))
		return nil
	}
	return p.declare(ctx, gone)
}
