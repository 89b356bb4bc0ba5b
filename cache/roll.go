package cache

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	shiftsync "github.com/slotsync/slotsync/sync"
)

// RollDue tells whether the roll was last called so long ago. Where nothing is
// remembered nobody is missing, and it counts as called.
func (r *Redis) RollDue(ctx context.Context, term shiftsync.Term, every time.Duration) (bool, error) {
	return r.due(ctx, term, int64(every/time.Second), ask, r.key.called, r.key.shifts)
}

// RollCalled drops the notes of shifts that are not missing any more, and then notes that the roll was called.
func (r *Redis) RollCalled(ctx context.Context, term shiftsync.Term, w shiftsync.Window, seen func(id int64) bool) error {
	for cursor := uint64(0); ; {
		page, next, err := r.scan(ctx, r.key.missing, cursor)
		if err != nil {
			return fmt.Errorf("hscan missing: %w", err)
		}
		var ids []int64
		for i := 0; i+1 < len(page); i += 2 {
			id, err := strconv.ParseInt(page[i], 10, 64)
			if err != nil {
				return fmt.Errorf("hscan missing: %w", err)
			}
			ids = append(ids, id)
		}
		for part := range slices.Chunk(ids, 500) { // a small hash comes as one page
			if err := r.tidy(ctx, term, part, w, seen); err != nil {
				return err
			}
		}
		if next == 0 {
			_, err := r.due(ctx, term, 0, done, r.key.called)
			return err
		}
		cursor = next
	}
}

// tidy drops the notes of those among the ids that are not missing.
func (r *Redis) tidy(ctx context.Context, term shiftsync.Term, ids []int64, w shiftsync.Window, seen func(id int64) bool) error {
	fields := make([]string, len(ids))
	for i, id := range ids {
		fields[i] = strconv.FormatInt(id, 10)
	}
	bounded, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	shifts, err := r.client.HMGet(bounded, r.key.shifts, fields...).Result()
	if err != nil {
		return fmt.Errorf("hmget shifts: %w", explain(r.client, err))
	}
	var over []shiftsync.Note
	for i, id := range ids {
		value, _ := shifts[i].(string)
		if !overlaps(value, w) && !wasEnded(value) || seen(id) {
			over = append(over, shiftsync.Note{ID: id})
		}
	}
	if len(over) == 0 {
		return nil
	}
	return r.Note(ctx, term, over)
}

// Absent asks for the time, goes through what is remembered page by page, some hundreds as a rule, and asks for nothing
// else while nobody is missing.
func (r *Redis) Absent(ctx context.Context, w shiftsync.Window, seen func(id int64) bool, tell func(shiftsync.Absent)) (census shiftsync.Census, err error) {
	now, err := r.now(ctx)
	if err != nil {
		return census, err
	}
	since := now - int64(shiftsync.GuardSpan/time.Second)
	for cursor := uint64(0); ; {
		page, next, err := r.scan(ctx, r.key.shifts, cursor)
		if err != nil {
			return census, fmt.Errorf("hscan shifts: %w", err)
		}
		var unseen, ended []int64
		for i := 0; i+1 < len(page); i += 2 {
			id, err := strconv.ParseInt(page[i], 10, 64)
			if err != nil {
				return census, fmt.Errorf("hscan shifts: %w", err)
			}
			switch value := page[i+1]; {
			case overlaps(value, w):
				census.Expected++
				if !seen(id) {
					unseen = append(unseen, id)
				}
			case endedSince(value, since):
				census.Ended++
			case wasEnded(value) && !seen(id):
				ended = append(ended, id)
			}
		}
		if err := r.tellAbsent(ctx, unseen, false, tell); err != nil {
			return census, err
		}
		if err := r.tellAbsent(ctx, ended, true, tell); err != nil {
			return census, err
		}
		if next == 0 {
			return census, nil
		}
		cursor = next
	}
}

// overlaps tells whether a shift that is remembered, or was, should be in the window.
func overlaps(value string, w shiftsync.Window) bool {
	if s, forgotten := readStub(value); forgotten {
		return !s.ended && s.end.After(w.Start) && s.start.Before(w.End)
	}
	var k shiftsync.Known
	readShift(value, &k)
	return k.Remembered && !k.Tombstone() && k.EndTime.After(w.Start) && k.StartTime.Before(w.End)
}

// wasEnded tells whether a tombstone was forgotten.
func wasEnded(value string) bool {
	s, forgotten := readStub(value)
	return forgotten && s.ended
}

// endedSince tells whether a remembered value is a tombstone that was acknowledged after that second.
func endedSince(value string, second int64) bool {
	var k shiftsync.Known
	readShift(value, &k)
	return k.Remembered && k.Tombstone() && int64(acknowledgedAt(value)) > second
}

// now returns the server's time in seconds since 1970.
func (r *Redis) now(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	trip := r.client.Pipeline()
	clock := r.clock(ctx, trip)
	if _, err := trip.Exec(ctx); err != nil {
		return 0, fmt.Errorf("time: %w", explain(r.client, err))
	}
	now, err := clock.Int64()
	if err != nil {
		return 0, fmt.Errorf("time: %w", explain(r.client, err))
	}
	return now, nil
}

// tellAbsent tells of those of which no intent stands.
func (r *Redis) tellAbsent(ctx context.Context, unseen []int64, ended bool, tell func(shiftsync.Absent)) error {
	if len(unseen) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	ids := make([]any, len(unseen))
	for i := range unseen {
		ids[i] = &unseen[i]
	}
	trip := r.client.Pipeline()
	clock := r.clock(ctx, trip)
	intents, notes := hmget(ctx, trip, r.key.intents, ids), hmget(ctx, trip, r.key.missing, ids)
	if _, err := trip.Exec(ctx); err != nil {
		return fmt.Errorf("hmget missing: %w", explain(r.client, err))
	}
	now, err := clock.Int64()
	if err != nil {
		return fmt.Errorf("time: %w", explain(r.client, err))
	}
	for i, id := range unseen {
		if intents.Val()[i] != "" {
			continue
		}
		a := shiftsync.Absent{ID: id, Ended: ended}
		next := int64(readNote(notes.Val()[i], &a.Finding))
		// A time that is further away than any that was ever noted comes from a clock that was set back.
		a.Due = next <= now || next > now+longestWait
		tell(a)
	}
	return nil
}

// longestWait is how many seconds ahead a note may lie.
const longestWait = 48 * 60 * 60

// Note writes notes, and drops those of shifts that are not missing any more.
func (r *Redis) Note(ctx context.Context, term shiftsync.Term, notes []shiftsync.Note) error {
	args := make([]any, 0, 2+3*len(notes))
	args = append(args, term.Owner, term.Claim)
	for i := range notes {
		var value []byte
		if n := &notes[i]; n.Last != shiftsync.Unasked {
			value = appendNote(nil, n)
		}
		args = append(args, notes[i].ID, value, int64(notes[i].Wait/time.Second))
	}
	_, err := r.run(ctx, r.script.note, []string{r.key.lease, r.key.missing}, args...)
	return err
}

// Doubt tells which of the versions another pass has doubted, and notes the others.
func (r *Redis) Doubt(ctx context.Context, term shiftsync.Term, pass string, doubted []shiftsync.Doubted) (again []bool, err error) {
	if len(doubted) == 0 {
		return nil, nil
	}
	args := make([]any, 0, 3+2*len(doubted))
	args = append(args, term.Owner, term.Claim, pass)
	for i := range doubted {
		args = append(args, doubted[i].ID, appendDoubt(nil, &doubted[i]))
	}
	cmd, err := r.run(ctx, r.script.doubt, []string{r.key.lease, r.key.doubted}, args...)
	if err != nil {
		return nil, err
	}
	told, err := cmd.StringSlice()
	if err != nil {
		return nil, explain(r.client, err)
	}
	if len(told) != len(doubted) {
		return nil, fmt.Errorf("asked for %d doubted shifts, told of %d", len(doubted), len(told))
	}
	again = make([]bool, len(told))
	for i := range told {
		again[i] = told[i] != ""
	}
	return again, nil
}

// Undoubt ends the doubt about shifts.
func (r *Redis) Undoubt(ctx context.Context, term shiftsync.Term, ids []int64) error {
	args := make([]any, 0, 2+3*len(ids))
	args = append(args, term.Owner, term.Claim)
	for _, id := range ids {
		args = append(args, id, "", 0)
	}
	_, err := r.run(ctx, r.script.note, []string{r.key.lease, r.key.doubted}, args...)
	return err
}
