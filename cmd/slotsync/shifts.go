package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/slotsync/slotsync/cache"
	shiftsync "github.com/slotsync/slotsync/sync"
)

// lookTime is how long a look at a shift may take. With the rate of a desk it bounds the connections to Redis that all
// of them together can hold, so that whoever asks without end takes nothing from the worker.
const lookTime = 2 * time.Second

// desk is where people ask what is remembered of a shift. It only reads.
type desk struct {
	store atomic.Pointer[cache.Redis] // nil until the destination is known, and when the worker has ended
	limit *rate.Limiter
}

func newDesk() *desk { return &desk{limit: rate.NewLimiter(2, 5)} }

func (d *desk) open(store *cache.Redis) { d.store.Store(store) }
func (d *desk) close()                  { d.store.Store(nil) }

// shiftAnswer is what is known of a shift: nothing of its content but its times.
type shiftAnswer struct {
	ID         int64            `json:"id"`
	Remembered *shiftRemembered `json:"remembered,omitempty"` // what the broker acknowledged last
	Pending    *shiftVersion    `json:"pending,omitempty"`    // what is on its way
	SetAside   *shiftAside      `json:"set_aside,omitempty"`  // the last version that was bad
	Wanted     bool             `json:"wanted"`               // it is to be published again
}

type shiftVersion struct {
	Fingerprint string             `json:"fingerprint"` // as in the record's header slotsync-hash
	Schema      shiftsync.SchemaID `json:"schema_id"`
	UpdatedAt   time.Time          `json:"updated_at,omitzero"`
	EndTime     time.Time          `json:"end_time,omitzero"`
	Tombstone   bool               `json:"tombstone"` // it says that the shift is gone
}

type shiftRemembered struct {
	shiftVersion
	Partition    int       `json:"partition"`
	Offset       int64     `json:"offset"`
	Acknowledged time.Time `json:"acknowledged"`
	Seen         time.Time `json:"last_seen"`
}

type shiftAside struct {
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// refusal is why there is no answer.
type refusal struct {
	status int
	Error  string `json:"error"`
}

// ask looks a shift up. Either the answer or the refusal is nil.
func (d *desk) ask(ctx context.Context, text string) (*shiftAnswer, *refusal) {
	id, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil || id < 1 {
		return nil, &refusal{http.StatusBadRequest, "the id of a shift is a whole number above 0"}
	}
	store := d.store.Load()
	if store == nil {
		return nil, &refusal{http.StatusServiceUnavailable, "the worker does not know yet what it writes to: Kafka has not answered"}
	}
	if !d.limit.Allow() {
		return nil, &refusal{http.StatusTooManyRequests, "asked too often: two shifts a second can be looked up"}
	}
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	kept, err := store.Shift(ctx, id)
	switch {
	case errors.Is(err, context.Canceled):
		return nil, &refusal{http.StatusServiceUnavailable, "given up"} // nobody reads it
	case err != nil:
		return nil, &refusal{http.StatusServiceUnavailable, reasonOf(err)}
	case !kept.Known():
		return nil, &refusal{http.StatusNotFound, "shift " + strconv.FormatInt(id, 10) +
			" is not known here: it was never in the window, or not seen for longer than EXPIRE_CACHE"}
	}
	return answerOf(id, kept), nil
}

func answerOf(id int64, kept *cache.ShiftState) *shiftAnswer {
	a := &shiftAnswer{ID: id, Wanted: kept.Wanted}
	if r := kept.Remembered; r != nil {
		a.Remembered = &shiftRemembered{shownVersion(r.Version), r.Partition, r.Offset, r.Acknowledged, r.Seen}
	}
	if kept.Pending != nil {
		pending := shownVersion(*kept.Pending)
		a.Pending = &pending
	}
	if kept.Aside != nil {
		a.SetAside = &shiftAside{cut(oneLine(kept.Aside.Reason)), kept.Aside.Noted}
	}
	return a
}

func shownVersion(v shiftsync.Version) shiftVersion {
	return shiftVersion{v.Fingerprint.String(), v.Schema, v.UpdatedAt, v.EndTime, v.Tombstone()}
}

// Words says how the shift stands.
func (a *shiftAnswer) Words() string {
	var words []string
	r := a.Remembered
	switch {
	case a.Pending != nil && a.Pending.Tombstone:
		words = append(words, "deleted: its tombstone is on its way")
	case r != nil && r.Tombstone:
		words = append(words, fmt.Sprintf("deleted: its tombstone is at partition %d, offset %d", r.Partition, r.Offset))
		if a.Pending != nil {
			words = append(words, "a newer version is on its way")
		}
	case a.Pending != nil && r != nil:
		words = append(words, "an older version is in the topic, a newer one on its way")
	case a.Pending != nil:
		words = append(words, "on its way to the topic")
	case r != nil:
		words = append(words, "in the topic")
	}
	if a.SetAside != nil {
		words = append(words, "a version was set aside")
	}
	if a.Wanted {
		words = append(words, "wanted again")
	}
	return strings.Join(words, "; ")
}
