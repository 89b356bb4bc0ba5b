package cache

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	shiftsync "github.com/slotsync/slotsync/sync"
)

// Lookup fills into in one trip, or in two when intents, doubts or notes of what was set aside have appeared since the last
// call. While it runs beside other steps, a shift that is settled meanwhile may be told both as Pending and as remembered
// in that version or a newer one; never is an intent missed whose Intend was answered before. An intent that cannot be
// read is Pending, its version zero.
func (r *Redis) Lookup(ctx context.Context, sightings []shiftsync.Sighting, into []shiftsync.Known) error {
	if len(sightings) != len(into) {
		return fmt.Errorf("%d sightings and room for %d", len(sightings), len(into))
	}
	if len(sightings) == 0 {
		return nil
	}
	// What is empty need not be read, but only the trip itself can say that it is empty. What an earlier one found is a
	// guess at what to ask for; a wrong guess costs a second trip, which asks for everything.
	enough, err := r.look(ctx, sightings, into, r.intents.Load(), r.aside.Load(), r.doubted.Load())
	if err == nil && !enough {
		_, err = r.look(ctx, sightings, into, true, true, true)
	}
	return err
}

// look makes one trip. It is not enough if there is something that was not asked for.
func (r *Redis) look(ctx context.Context, sightings []shiftsync.Sighting, into []shiftsync.Known, intents, aside, doubted bool) (enough bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()

	var notes []any
	ids := make([]any, 0, len(sightings))
	for i := range sightings {
		if sightings[i].ID != 0 {
			ids = append(ids, &sightings[i].ID)
		}
	}
	if aside {
		notes = fieldsAside(sightings)
	}
	// Intents before shifts: an intent that is remembered between the two reads is then seen in both, and the other way
	// round in neither. MULTI would make it one read, but a server short of memory refuses even reads in it.
	trip := r.client.Pipeline()
	clock := r.clock(ctx, trip)
	intentCount, asideCount, doubtCount := trip.HLen(ctx, r.key.intents), trip.HLen(ctx, r.key.aside), trip.HLen(ctx, r.key.doubted)
	intended := hmget(ctx, trip, r.key.intents, onlyIf(intents, ids))
	doubts := hmget(ctx, trip, r.key.doubted, onlyIf(doubted, ids))
	noted := hmget(ctx, trip, r.key.aside, notes)
	remembered := hmget(ctx, trip, r.key.shifts, ids)
	if _, err := trip.Exec(ctx); err != nil {
		return false, explain(r.client, err)
	}
	r.intents.Store(intentCount.Val() > 0)
	r.aside.Store(asideCount.Val() > 0)
	r.doubted.Store(doubtCount.Val() > 0)

	now, err := clock.Int64()
	if err != nil {
		return false, fmt.Errorf("time: %w", explain(r.client, err))
	}
	fresh, next := now-int64(r.keep/time.Second/2), 0
	for i := range sightings {
		k := &into[i]
		*k = shiftsync.Known{}
		if aside {
			k.Aside = readAside(noted.Val()[i])
		}
		if sightings[i].ID == 0 {
			continue
		}
		seen := readShift(remembered.Val()[next], k)
		k.Doubted = doubted && doubts.Val()[next] != ""
		k.Stale = k.Remembered && int64(seen) < fresh
		if intents && intended.Val()[next] != "" {
			k.Pending = true
			readIntended(intended.Val()[next], &k.Intended)
		}
		next++
	}
	return (intents || intentCount.Val() == 0) && (aside || asideCount.Val() == 0) && (doubted || doubtCount.Val() == 0), nil
}

// clock adds the server's time, in seconds since 1970, to a trip. In a script, which goes to the node of its key: a
// cluster takes TIME itself on any node, one that is down included.
func (r *Redis) clock(ctx context.Context, trip redis.Pipeliner) *redis.Cmd {
	return trip.Eval(ctx, "return redis.call('TIME')[1]", []string{r.key.shifts})
}

func onlyIf(ask bool, fields []any) []any {
	if !ask {
		return nil
	}
	return fields
}

func fieldsAside(sightings []shiftsync.Sighting) []any {
	fields := make([]any, len(sightings))
	for i := range sightings {
		if s := &sightings[i]; s.ID != 0 {
			fields[i] = &s.ID
		} else {
			fields[i] = nameless(s.Raw)
		}
	}
	return fields
}

// hmget adds a read of some fields of a hash to a trip, or nothing if there are none. A field that is not there gives
// an empty string, which no value of ours is. The client's own HMGet would put each value into a box.
func hmget(ctx context.Context, trip redis.Pipeliner, key string, fields []any) *redis.StringSliceCmd {
	args := append(make([]any, 0, 2+len(fields)), "hmget", key)
	cmd := redis.NewStringSliceCmd(ctx, append(args, fields...)...)
	if len(fields) > 0 {
		_ = trip.Process(ctx, cmd) // only queues it: Exec has the error
	}
	return cmd
}

// Refresh rewrites the raw hash and "last seen" of unchanged shifts, and brings those of the older form whose start is told
// into the newer one. It leaves those with an open intent alone too.
func (r *Redis) Refresh(ctx context.Context, term shiftsync.Term, seen []shiftsync.Seen) error {
	values := r.pack()
	defer r.unpack(values)
	for i := range seen {
		value := append(binary.BigEndian.AppendUint64(values.buf, seen[i].Raw), seen[i].Fingerprint[:]...)
		values.add(binary.BigEndian.AppendUint32(value, seconds(seen[i].StartTime)))
	}
	args := append(values.args, term.Owner, term.Claim)
	for i, value := range values.all() {
		args = append(args, &seen[i].ID, value)
	}
	values.args = args
	keys := []string{r.key.lease, r.key.shifts, r.key.intents}
	_, err := r.run(ctx, r.script.refresh, keys, args...)
	return err
}

// Sweep drops what was not seen for longer than keep, in whole seconds, and as old notes of what was set aside or
// doubted. It is due when the last one to its end is an eighth of keep ago, and never twice in a minute; before the first
// one, when Sweep was first called so long ago, since nothing is old in a store that is new. It goes through
// pages of some hundred shifts, each of them one step; the first one also notes that a pass was in step.
func (r *Redis) Sweep(ctx context.Context, term shiftsync.Term, keep time.Duration, inStep bool) (dropped int, err error) {
	if keep < time.Second {
		return 0, errors.New("nothing would be kept")
	}
	every := int64(max(keep/8, time.Minute) / time.Second)
	keys := []string{r.key.swept}
	if inStep {
		keys = append(keys, r.key.inStep)
	}
	due, err := r.due(ctx, term, every, begin, keys...)
	if err != nil || !due {
		return 0, err
	}
	for _, hash := range []struct {
		key   string
		forms []byte
	}{
		{r.key.shifts, []byte{formShift, formOlder, formStub}},
		{r.key.aside, []byte{form}},
		{r.key.doubted, []byte{form}},
	} {
		n, err := r.sweep(ctx, term, hash.key, hash.forms, int64(keep/time.Second))
		if hash.key != r.key.doubted { // the shift itself is remembered, or its version set aside
			dropped += n
		}
		if err != nil {
			return dropped, err
		}
	}
	_, err = r.due(ctx, term, every, done, r.key.swept)
	return dropped, err
}

// What due is to do.
const (
	ask   = "ask"
	begin = "begin" // ask, and take it for done now if it never was
	done  = "done"  // note that
)

// due tells whether something was last done so many seconds ago, or notes that it was done now.
func (r *Redis) due(ctx context.Context, term shiftsync.Term, every int64, do string, keys ...string) (bool, error) {
	n, err := r.count(ctx, r.script.due, append([]string{r.key.lease}, keys...), term.Owner, term.Claim, every, do)
	return n == 1, err
}

func (r *Redis) sweep(ctx context.Context, term shiftsync.Term, key string, forms []byte, keep int64) (dropped int, err error) {
	for cursor := "0"; ; {
		cmd, err := r.run(ctx, r.script.sweep, []string{r.key.lease, key}, term.Owner, term.Claim, keep, forms, cursor)
		if err != nil {
			return dropped, err
		}
		page, err := cmd.StringSlice()
		if err != nil {
			return dropped, explain(r.client, err)
		}
		n, err := strconv.Atoi(page[0])
		if err != nil {
			return dropped, fmt.Errorf("count of a page: %w", err)
		}
		dropped += n
		cursor = page[1]
		if cursor == "0" {
			return dropped, nil
		}
	}
}
