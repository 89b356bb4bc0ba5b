package publish

import (
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"time"

	shiftsync "github.com/slotsync/slotsync/sync"
)

// field is what a T has to say under a name.
type field[T any] struct {
	name   string
	source source[T]
}

// source returns what writes the value in an Avro type, or nil if the type cannot hold it.
type source[T any] func(avroType) writer[T]

// writer appends a value, in one Avro type, to buf and returns it grown. If the value is not there it says so, and what
// it appended counts for nothing, as it does beside an error.
type writer[T any] func(buf []byte, from *T) (grown []byte, there bool, err error)

// shiftFields are the fields of a value, in the order of our schema.
func shiftFields() []field[shiftsync.Shift] {
	type S = shiftsync.Shift
	return []field[S]{
		{"account_id", integer(func(s *S) (int64, bool) { return s.AccountID, true })},
		{"acknowledged", flag(func(s *S) (bool, bool) { return s.Acknowledged, true })},
		{"acknowledged_at", date(func(s *S) time.Time { return s.AcknowledgedAt })},
		{"actionable", flag(func(s *S) (bool, bool) { return s.Actionable, true })},
		{"alerted", flag(func(s *S) (bool, bool) { return s.Alerted, true })},
		{"block_id", integer(func(s *S) (int64, bool) { return s.BlockID, true })},
		{"break_time", wholeHours(func(s *S) float64 { return s.BreakTime })},
		{"color", text(func(s *S) string { return s.Color })},
		{"created_at", date(func(s *S) time.Time { return s.CreatedAt })},
		{"creator_id", integer(func(s *S) (int64, bool) { return s.CreatorID, true })},
		{"end_time", date(func(s *S) time.Time { return s.EndTime })},
		{"id", longOnly(integer(func(s *S) (int64, bool) { return s.ID, true }))},
		{"instances", integer(func(s *S) (int64, bool) { return s.Instances, true })},
		{"is_open", flag(func(s *S) (bool, bool) { return s.IsOpen, true })},
		{"linked_users", nothing[S]},
		{"location_id", integer(func(s *S) (int64, bool) { return s.LocationID, true })},
		{"notes", text(func(s *S) string { return s.Notes })},
		{"notified_at", date(func(s *S) time.Time { return s.NotifiedAt })},
		{"position_id", integer(func(s *S) (int64, bool) { return s.PositionID, true })},
		{"published", flag(func(s *S) (bool, bool) { return s.Published, true })},
		{"published_date", date(func(s *S) time.Time { return s.PublishedDate })},
		{"shiftchain_key", text(func(s *S) string { return s.ShiftchainKey })},
		{"site_id", integer(func(s *S) (int64, bool) { return s.SiteID, true })},
		{"start_time", date(func(s *S) time.Time { return s.StartTime })},
		{"updated_at", date(func(s *S) time.Time { return s.UpdatedAt })},
		{"user_id", integer(func(s *S) (int64, bool) { return s.UserID, true })},

		{"break_time_hours", hours(func(s *S) (float64, bool) { return s.BreakTimeHours.Value, s.BreakTimeHours.Set })},
		{"linked_user_ids", integers(func(s *S) []int64 { return s.LinkedUserIDs })},
		{"breaks", breaks},
		{"is_shared", flag(func(s *S) (bool, bool) { return s.IsShared.Value, s.IsShared.Set })},
		{"is_trimmed", flag(func(s *S) (bool, bool) { return s.IsTrimmed.Value, s.IsTrimmed.Set })},
		{"requires_openshift_approval", flag(func(s *S) (bool, bool) {
			return s.RequiresOpenshiftApproval.Value, s.RequiresOpenshiftApproval.Set
		})},
		{"openshift_approval_request_id", integer(func(s *S) (int64, bool) {
			return s.OpenshiftApprovalRequestID.Value, s.OpenshiftApprovalRequestID.Set
		})},
		{"is_approved_without_time", flag(func(s *S) (bool, bool) {
			return s.IsApprovedWithoutTime.Value, s.IsApprovedWithoutTime.Set
		})},
	}
}

func breakFields() []field[shiftsync.Break] {
	type B = shiftsync.Break
	return []field[B]{
		{"id", longOnly(integer(func(b *B) (int64, bool) { return b.ID, true }))},
		{"length_seconds", integer(func(b *B) (int64, bool) { return b.LengthSeconds, true })},
		{"paid", flag(func(b *B) (bool, bool) { return b.Paid, true })},
		{"start_time", date(func(b *B) time.Time { return b.StartTime })},
		{"end_time", date(func(b *B) time.Time { return b.EndTime })},
		{"sort", integer(func(b *B) (int64, bool) { return b.Sort, true })},
	}
}

// Errors about one shift. They do not quote the value.
var (
	errNotInt   = errors.New("too large for an int")
	errNotHours = errors.New("not a number of hours")
	errNotDate  = errors.New("not a date of the years 0 to 9999")
)

func integer[T any](get func(*T) (int64, bool)) source[T] {
	return func(t avroType) writer[T] {
		switch t.kind {
		case "long":
			return func(buf []byte, from *T) ([]byte, bool, error) {
				v, ok := get(from)
				return appendLong(buf, v), ok, nil
			}
		case "int":
			return func(buf []byte, from *T) ([]byte, bool, error) {
				v, ok := get(from)
				if ok && int64(int32(v)) != v {
					return nil, false, errNotInt
				}
				return appendLong(buf, v), ok, nil
			}
		}
		return nil
	}
}

// longOnly keeps ids out of an int, into which hardly any fits today.
func longOnly[T any](s source[T]) source[T] {
	return func(t avroType) writer[T] {
		if t.kind != "long" {
			return nil
		}
		return s(t)
	}
}

// flag is a boolean, or 0 and 1 where slot_sync had a number.
func flag[T any](get func(*T) (v, ok bool)) source[T] {
	return func(t avroType) writer[T] {
		yes := []byte{1}
		switch t.kind {
		case "boolean":
		case "long", "int":
			yes = appendLong(nil, 1)
		default:
			return nil
		}
		return func(buf []byte, from *T) ([]byte, bool, error) {
			v, ok := get(from)
			if v {
				return append(buf, yes...), ok, nil
			}
			return append(buf, 0), ok, nil
		}
	}
}

// text is a string; a byte that is no UTF-8 would make the whole record unreadable for many consumers.
func text[T any](get func(*T) string) source[T] {
	return func(t avroType) writer[T] {
		if t.kind != "string" {
			return nil
		}
		return func(buf []byte, from *T) ([]byte, bool, error) {
			s := strings.ToValidUTF8(get(from), "\uFFFD")
			return append(appendLong(buf, int64(len(s))), s...), true, nil
		}
	}
}

// date is an instant in UTC and whole seconds; the zero time is not there.
func date[T any](get func(*T) time.Time) source[T] {
	return func(t avroType) writer[T] {
		if t.kind != "string" {
			return nil
		}
		return func(buf []byte, from *T) ([]byte, bool, error) {
			v := get(from)
			if v.IsZero() {
				return buf, false, nil
			}
			v = v.UTC()
			if y := v.Year(); y < 0 || y > 9999 {
				return nil, false, errNotDate
			}
			return v.AppendFormat(appendLong(buf, int64(len("2006-01-02T15:04:05Z"))), time.RFC3339), true, nil
		}
	}
}

// hours is a double. Infinities are refused, as JSON has none and no break is that long.
func hours[T any](get func(*T) (float64, bool)) source[T] {
	return func(t avroType) writer[T] {
		if t.kind != "double" {
			return nil
		}
		return func(buf []byte, from *T) ([]byte, bool, error) {
			v, ok := get(from)
			if ok && (math.IsNaN(v) || math.IsInf(v, 0)) {
				return nil, false, errNotHours
			}
			// Adding 0 makes one of the two zeros, which have different bytes.
			return binary.LittleEndian.AppendUint64(buf, math.Float64bits(v+0)), ok, nil
		}
	}
}

// wholeHours are truncated, as slot_sync's consumers know them, unless the schema has room for fractions.
func wholeHours[T any](get func(*T) float64) source[T] {
	exact := hours(func(from *T) (float64, bool) { return get(from), true })
	return func(t avroType) writer[T] {
		limit := math.MaxInt64 + 1.0
		switch t.kind {
		case "long":
		case "int":
			limit = math.MaxInt32 + 1.0
		default:
			return exact(t)
		}
		return func(buf []byte, from *T) ([]byte, bool, error) {
			v := math.Trunc(get(from))
			if !(-limit <= v && v < limit) { // in this form it is true of NaN too
				return nil, false, errNotHours
			}
			return appendLong(buf, int64(v)), true, nil
		}
	}
}

// integers is an array; nil is not there.
func integers[T any](get func(*T) []int64) source[T] {
	return func(t avroType) writer[T] {
		if t.kind != "array" || len(t.items.branches) != 1 || t.items.union || t.items.branches[0].kind != "long" {
			return nil
		}
		return func(buf []byte, from *T) ([]byte, bool, error) {
			values := get(from)
			if len(values) > 0 { // one block
				buf = appendLong(buf, int64(len(values)))
				for _, v := range values {
					buf = appendLong(buf, v)
				}
			}
			return append(buf, 0), values != nil, nil
		}
	}
}

// breaks is an array of records; nil is not there.
func breaks(t avroType) writer[shiftsync.Shift] {
	if t.kind != "array" || len(t.items.branches) != 1 || t.items.union || t.items.branches[0].kind != "record" {
		return nil
	}
	write, err := newRecordWriter(t.items.branches[0], breakFields())
	if err != nil {
		return nil
	}
	return func(buf []byte, s *shiftsync.Shift) ([]byte, bool, error) {
		if len(s.Breaks) > 0 { // one block
			buf = appendLong(buf, int64(len(s.Breaks)))
			for i := range s.Breaks {
				var err error
				if buf, err = write.append(buf, &s.Breaks[i]); err != nil {
					return nil, false, err
				}
			}
		}
		return append(buf, 0), s.Breaks != nil, nil
	}
}

// nothing is what linked_users always was.
func nothing[T any](t avroType) writer[T] {
	if zeroOf(t.kind) == nil {
		return nil
	}
	return func(buf []byte, _ *T) ([]byte, bool, error) { return buf, false, nil }
}
