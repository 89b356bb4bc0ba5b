package shiftsync

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"time"
)

// Deletes says what is done about shifts that vanished from the window.
type Deletes uint8

const (
	DeletesOff       Deletes = iota // nothing: nobody looks for them
	DeletesUpdate                   // those that still exist are published if they have changed; the others are reported
	DeletesTombstone                // and those that do not exist any more get a tombstone
)

const (
	// rollEvery is the least time from one roll call to the next, however short the passes are.
	rollEvery = time.Minute

	// The time until a missing shift is asked for once more doubles from the first to the last of these.
	askAgainFirst = time.Minute
	askAgainLast  = 24 * time.Hour

	// goneNamed is how many ids of shifts that are gone a Report names.
	goneNamed = 10
)

// roll is the calling of the roll: what is remembered of the window is compared with an answer that was read whole.
// That a shift is missing proves nothing. It may have left the window, or be shown to us no longer, or the answer may
// be wrong. So each one is asked for by itself, and only a source that says that there is no such shift is believed.
type roll struct {
	seen idList // of the answer

	missing  int // remembered, not in the answer, and not known to be so for good
	expected int // remembered, and not known to be missing for good
	denied   int // of the missing, those that the guard kept from being declared gone
	census   Census
	asking   []Absent // those to be asked for now
	ended    []Absent // those of them that had a tombstone; they come last
}

// openRoll begins a roll call if one is due.
func (p *pass) openRoll(ctx context.Context) error {
	if p.Deletes == DeletesOff {
		return nil
	}
	due, err := p.Store.RollDue(ctx, p.t.term, rollEvery)
	if err != nil {
		return fmt.Errorf("look when the roll was called: %w", err)
	}
	if due {
		p.roll = &roll{}
	}
	return nil
}

// readAndMark reads the window, and marks who is there if the roll is called.
func (p *pass) readAndMark(ctx context.Context, add adder) error {
	if p.roll == nil {
		return p.readWindow(ctx, add)
	}
	return p.readWindow(ctx, func(id int64, hash uint64, raw []byte) error {
		p.roll.seen.add(id)
		return add(id, hash, raw)
	})
}

// callRoll finds out who is missing and what became of some of them, as many as budget at most. The window has been
// read whole, or it would not be called.
func (p *pass) callRoll(stop, ctx context.Context, budget int) error {
	if p.roll == nil || budget <= 0 || p.askedLong() || int(p.t.open.Load()) >= p.PendingLimit {
		return nil
	}
	if err := p.roll.compare(ctx, p.Worker, p.window, budget); err != nil {
		return fmt.Errorf("look for missing shifts: %w", err)
	}
	p.called, p.missing = true, p.roll.missing
	if err := p.Store.RollCalled(ctx, p.t.term, p.window, p.roll.has); err != nil {
		return fmt.Errorf("note that the roll was called: %w", err)
	}
	notes, gone, again, err := p.ask(stop, ctx)
	if err != nil {
		return err
	}
	if p.keepsBack(len(gone)) {
		gone = nil
	}
	gone = append(gone, again...)
	p.believe(notes, gone)
	if len(notes) > 0 {
		if err := p.Store.Note(ctx, p.t.term, notes); err != nil {
			return fmt.Errorf("note what became of %d missing shifts: %w", len(notes), err)
		}
	}
	return p.declare(ctx, gone)
}

// keepsBack tells whether the guard keeps those that turned out to be gone from being declared so, and says it.
func (p *pass) keepsBack(gone int) bool {
	if p.roll.guarded(p.GoneShare) {
		if p.missing > 0 {
			p.notices = append(p.notices, p.roll.warning(p.GoneShare))
		}
		return true
	}
	// Those that were kept back before and were not asked for now count too, or they would slip through one by one.
	claimed, g := gone+p.roll.denied, p.guard(p.roll.census)
	if claimed == 0 || !g.stops(claimed) {
		return false
	}
	p.notices = append(p.notices, g.warning(claimed))
	return true
}

// believe turns the notes of those that are declared gone into what becomes of them.
func (p *pass) believe(notes []Note, gone []int64) {
	for i := range notes {
		if !slices.Contains(gone, notes[i].ID) {
			continue
		}
		notes[i].Last = Gone
		if p.Deletes == DeletesTombstone {
			notes[i].Last = Unclear // the tombstone is what says so, once it is acknowledged
		}
	}
}

// compare goes through what is remembered and picks those to ask for.
func (r *roll) compare(ctx context.Context, w *Worker, window Window, budget int) error {
	sort.Sort(&r.seen)
	var (
		known int      // to be missing for good
		back  []Absent // kept back by the guard, and not due; they are tried at once when it would let them go
		err   error
	)
	r.census, err = w.Store.Absent(ctx, window, r.has, func(a Absent) {
		if a.Ended {
			if a.Due && w.Deletes == DeletesTombstone && len(r.ended) < budget && !among(r.ended, a.ID) {
				r.ended = append(r.ended, a)
			}
			return
		}
		switch a.Last {
		case Unlisted, Gone, Elsewhere:
			known++
		case Denied:
			r.denied++
			r.missing++
		default:
			r.missing++
		}
		// Somebody may have begun to want tombstones after it was found to be gone.
		if a.Due || a.Last == Gone && w.Deletes == DeletesTombstone {
			r.pick(a, budget)
		} else if a.Last == Denied && len(back) < budget {
			back = append(back, a)
		}
	})
	r.expected = r.census.Expected - known
	if !r.guarded(w.GoneShare) && !(guard{w.GoneShare, r.census, false}).stops(r.denied) {
		for _, a := range back {
			r.pick(a, budget)
		}
	}
	r.ended = r.ended[:min(len(r.ended), budget-len(r.asking))]
	return err
}

// has tells whether the answer had the shift, once compare has sorted it.
func (r *roll) has(id int64) bool {
	at := sort.Search(r.seen.Len(), func(i int) bool { return r.seen.at(i) >= id })
	return at < r.seen.Len() && r.seen.at(at) == id
}

// among tells whether a shift is one of them. The store may tell of one twice.
func among(some []Absent, id int64) bool {
	return slices.ContainsFunc(some, func(a Absent) bool { return a.ID == id })
}

// pick keeps a among those to ask for, if there is room or one that was asked for more often.
func (r *roll) pick(a Absent, budget int) {
	if among(r.asking, a.ID) {
		return
	}
	if len(r.asking) < budget {
		r.asking = append(r.asking, a)
		return
	}
	most := 0
	for i := range r.asking {
		if r.asking[i].Asked > r.asking[most].Asked {
			most = i
		}
	}
	if r.asking[most].Asked > a.Asked {
		r.asking[most] = a
	}
}

// guarded tells whether too many are missing to believe that any of them is gone: rather the answer is wrong, or our
// right to see them has changed. A single one is no sign of that, but an answer without any shift always is. A share of
// 1 turns the guard off.
func (r *roll) guarded(share float64) bool {
	if share >= 1 {
		return false
	}
	return r.seen.Len() == 0 || r.missing > 1 && float64(r.missing) > share*float64(r.expected)
}

// warning says that, and what to do.
func (r *roll) warning(share float64) string {
	return fmt.Sprintf("%d of %d shifts that should be in the window are missing, more than a share of %g: none is taken for gone; "+
		"if they were deleted, raise GONE_SHARE for a while", r.missing, r.expected, share)
}

// ask reads the picked ones one by one. What exists goes through the stages like any other shift. It returns what is
// to be noted, and of which of them it is news that they are gone; those are noted as denied. Again are those that had a
// tombstone before, and so were believed to be gone. Trouble of the source ends the asking; it is none of the pass.
func (p *pass) ask(stop, ctx context.Context) (notes []Note, gone, again []int64, err error) {
	// One that gives trouble each time must not stand before the others.
	slices.SortStableFunc(p.roll.asking, func(a, b Absent) int { return a.Asked - b.Asked })
	for _, a := range slices.Concat(p.roll.asking, p.roll.ended) {
		if p.askedLong() {
			break
		}
		switch {
		case p.t.Err() != nil:
			return nil, nil, nil, p.t.Err()
		case stop.Err() != nil:
			return nil, nil, nil, errStopped
		}
		p.count(Tally{LookedUp: 1})
		if a.Last == Denied {
			p.roll.denied--
		}
		note := Note{ID: a.ID, Finding: Finding{Last: Unclear, Asked: a.Asked + 1}, Wait: askAgain(a.Asked)}
		var (
			raw      []byte
			ofSource error
			other    *LayoutError
			trouble  bool
		)
		err := p.stream(stop, ctx, false, func(ctx context.Context, add adder) error {
			ofSource = p.Source.ReadOne(ctx, a.ID, func(id int64, hash uint64, b []byte) error {
				raw = append(raw[:0], b...)
				return add(id, hash, b)
			})
			return ofSource
		})
		switch {
		case err == nil:
			note.Last = p.whereabouts(raw)
		case errors.Is(ofSource, ErrNoShift) && a.Last == Gone && p.Deletes != DeletesTombstone:
			note.Last = Gone // it was reported
		case errors.Is(ofSource, ErrNoShift) && a.Ended:
			again = append(again, a.ID)
		case errors.Is(ofSource, ErrNoShift):
			note.Last = Denied
			gone = append(gone, a.ID)
		case errors.Is(ofSource, ErrNotShown), errors.As(err, &other):
		case ofSource == nil || stop.Err() != nil || p.t.Err() != nil:
			return nil, nil, nil, err
		default:
			trouble = true
			p.notices = append(p.notices, fmt.Sprintf("shift %d is missing, and could not be looked up: %v", a.ID, err))
		}
		notes = append(notes, note)
		if trouble {
			break
		}
	}
	return notes, gone, again, nil
}

// whereabouts tells of a shift that was not in the answer and exists whether it should have been there. That it is
// elsewhere stays noted until what is remembered says so too: its record may be refused, or its start not be known.
func (p *pass) whereabouts(raw []byte) Absence {
	var s Shift
	switch err := p.Source.Parse(raw, &s); {
	case err != nil:
		return Unclear // it was set aside
	case s.StartTime.Before(p.window.End) && s.EndTime.After(p.window.Start):
		return Unlisted
	}
	return Elsewhere
}

// askAgain is the time until a shift that was asked for so many times before is asked for once more.
func askAgain(asked int) time.Duration {
	wait := askAgainFirst
	for range asked {
		if wait *= 2; wait >= askAgainLast {
			return askAgainLast
		}
	}
	return wait
}

// declare reports what is gone, and sends tombstones if that is wanted.
func (p *pass) declare(ctx context.Context, gone []int64) error {
	raw := mix(0, rawSeed(p.schemas, p.t.maxRecord))
	gone, err := p.withoutAside(ctx, gone, raw)
	if err != nil || len(gone) == 0 {
		return err
	}
	p.gone = append(p.gone, gone[:min(len(gone), goneNamed-len(p.gone))]...)
	p.count(Tally{Gone: len(gone)})
	if p.Deletes != DeletesTombstone {
		return nil
	}
	// Nothing is in flight now, and of none of them an intent stands.
	room := max(0, p.PendingLimit-int(p.t.open.Load()))
	if left := len(gone) - room; left > 0 {
		p.count(Tally{NotCollected: left})
		gone = gone[:room]
	}
	b := &batch{}
	for _, id := range gone {
		in := Intent{Mark: p.t.marks}
		if b.buf, err = p.Encoder.Tombstone(id, b.buf, &in.Record); err != nil {
			return fmt.Errorf("form a tombstone: %w", err)
		}
		in.Raw = raw
		b.intents = append(b.intents, in)
	}
	p.t.marks++
	if err := p.intend(ctx, b); err != nil {
		return err
	}
	return errors.Join(p.publish(ctx, b), p.remember(ctx, b))
}

// withoutAside leaves out those whose tombstone was refused before: as it is, it would be refused again.
func (p *pass) withoutAside(ctx context.Context, gone []int64, raw uint64) (left []int64, err error) {
	if p.Deletes != DeletesTombstone || len(gone) == 0 {
		return gone, nil
	}
	sightings, known := make([]Sighting, len(gone)), make([]Known, len(gone))
	for i, id := range gone {
		sightings[i] = Sighting{ID: id, Raw: raw}
	}
	if err := p.Store.Lookup(ctx, sightings, known); err != nil {
		return nil, fmt.Errorf("look up %d shifts that are gone: %w", len(gone), err)
	}
	for i, id := range gone {
		if known[i].Aside != raw {
			left = append(left, id)
		}
	}
	p.count(Tally{StillAside: len(gone) - len(left)})
	return left, nil
}
