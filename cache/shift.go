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

// ShiftState is all that is kept of one shift. Its parts do not exclude each other: a version may be remembered, a
// newer one pending, and another one set aside.
type ShiftState struct {
	Remembered *RememberedShift   // the version that the broker acknowledged last; nil: none
	Pending    *shiftsync.Version // of the intent that stands; nil: none. Zero if the intent cannot be read
	Aside      *AsideShift        // the last version that was set aside; nil: none
	Wanted     bool               // somebody wants it published again, and it was not yet
}

// RememberedShift is a version of a shift that is in the topic, which may be its tombstone.
type RememberedShift struct {
	shiftsync.Version
	Partition    int
	Offset       int64
	Acknowledged time.Time // in whole seconds, by the clock of Redis
	Seen         time.Time // as Acknowledged; rewritten when half of the time has passed for which a shift is remembered
}

// AsideShift is a version of a shift that could not be made a record, or that the broker refused.
type AsideShift struct {
	Reason string // without the shift's content
	Noted  time.Time
}

// Known tells whether anything is kept of the shift.
func (s *ShiftState) Known() bool {
	return s.Remembered != nil || s.Pending != nil || s.Aside != nil || s.Wanted
}

// Shift returns what is kept of a shift, in one trip that only reads. While other steps run, what is settled meanwhile
// may be told both as pending and as remembered.
func (r *Redis) Shift(ctx context.Context, id int64) (*ShiftState, error) {
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, looker{}, ctx), r.timeout)
	defer cancel()
	field := strconv.FormatInt(id, 10)
	trip := r.client.Pipeline()
	intent := trip.HGet(ctx, r.key.intents, field) // before the shift, as in Lookup
	wish := trip.HGet(ctx, r.key.wanted, field)
	note := trip.HGet(ctx, r.key.aside, field)
	shift := trip.HGet(ctx, r.key.shifts, field)
	_, _ = trip.Exec(ctx) // its error is the first of the commands', which may only say that there is nothing
	for _, cmd := range []redis.Cmder{intent, wish, note, shift} {
		if err := cmd.Err(); err != nil && !errors.Is(err, redis.Nil) {
			return nil, fmt.Errorf("hget shift %d: %w", id, explain(r.client, err))
		}
	}
	s := &ShiftState{Remembered: readRemembered(shift.Val()), Aside: readAsideShift(note.Val()), Wanted: wish.Err() == nil}
	if intent.Err() == nil {
		s.Pending = &shiftsync.Version{}
		readIntended(intent.Val(), s.Pending)
	}
	return s, nil
}

// readRemembered returns nil for what is not there, or was written in another form: that one is not remembered.
func readRemembered(value string) *RememberedShift {
	var k shiftsync.Known
	seen := readShift(value, &k)
	if !k.Remembered {
		return nil
	}
	return &RememberedShift{
		Version: k.Version, Partition: k.Partition, Offset: k.Offset,
		Acknowledged: instant(acknowledgedAt(value)), Seen: instant(seen),
	}
}

// acknowledgedAt returns the second of a remembered shift's acknowledgement. The value must be one that can be read.
func acknowledgedAt(value string) uint32 {
	return binary.BigEndian.Uint32([]byte(value[len(value)-8:]))
}

// readAsideShift returns nil for what is not there, or was written in another form.
func readAsideShift(value string) *AsideShift {
	if len(value) < asideSize || value[0] != form {
		return nil
	}
	end := len(value) - 4
	return &AsideShift{Reason: value[9:end], Noted: instant(binary.BigEndian.Uint32([]byte(value[end:])))}
}
