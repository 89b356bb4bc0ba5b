package shiftsync

import (
	"bytes"
	"context"
	"fmt"
)

// A version that says of itself that it is older than one that is known may come from a part of the source that lags
// behind, and would be put right a moment later: it waits until another pass has seen it too, and none in between has
// seen the known one. By then it is true; the source may have been restored from a backup, or not move its "updated at"
// on every change.

// doubtful is a version that is to be published if it was doubted by another pass before.
type doubtful struct {
	Intent
	replaces bool // an intent stands
}

// older tells whether a version is older than a known one, as far as both say; in whole seconds, as they are stored.
func older(v, known Version) bool {
	return !v.UpdatedAt.IsZero() && !known.UpdatedAt.IsZero() && v.UpdatedAt.Unix() < known.UpdatedAt.Unix()
}

// doubt puts a version to the side for weigh. Until then nothing else of its shift is decided.
func (d *decider) doubt(in Intent, replaces bool) {
	in.Key, in.Value = bytes.Clone(in.Key), bytes.Clone(in.Value) // the batch's memory is only for what it keeps
	d.fly(in.ID)
	d.doubted = append(d.doubted, doubtful{in, replaces})
}

// trust ends the doubt about a shift that was seen as it is remembered.
func (d *decider) trust(k Known, id int64) {
	if k.Doubted && !k.Pending {
		d.trusted = append(d.trusted, id)
	}
}

// weigh collects what has been doubted before, and holds back the rest.
func (d *decider) weigh(ctx context.Context, room *int) error {
	if len(d.doubted) == 0 {
		return nil
	}
	versions := make([]Doubted, len(d.doubted))
	for i := range d.doubted {
		versions[i] = Doubted{ID: d.doubted[i].ID, Fingerprint: d.doubted[i].Fingerprint}
	}
	again, err := d.Store.Doubt(ctx, d.t.term, d.id, versions)
	if err != nil {
		return fmt.Errorf("look up %d doubted shifts: %w", len(versions), err)
	}
	for i, was := range d.doubted {
		if again[i] {
			d.tally.Changed++
			if d.collect(was.Intent, was.replaces, room) {
				continue
			}
		} else {
			d.tally.HeldBack++
		}
		d.mu.Lock()
		delete(d.flying, was.ID)
		d.mu.Unlock()
	}
	return nil
}
