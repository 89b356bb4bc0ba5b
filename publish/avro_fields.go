package publish

import (
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

// source returns how to get the value in an Avro type, or nil if the type cannot hold it.
type source[T any] func(avroType) getter[T]

// getter returns a value as the codec wants it; nil stands for one that is not there. It may keep what it returned
// last, since most values are those of the shift before and an interface costs an allocation.
type getter[T any] func(*T) (any, error)

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
	return func(t avroType) getter[T] {
		if t.kind != "long" && t.kind != "int" {
			return nil
		}
		box := boxed[int64]()
		return func(from *T) (any, error) {
			v, ok := get(from)
			if !ok {
				return nil, nil
			}
			if t.kind == "int" && int64(int32(v)) != v {
				return nil, errNotInt
			}
			return box(v), nil
		}
	}
}

// longOnly keeps ids out of an int, into which hardly any fits today.
func longOnly[T any](s source[T]) source[T] {
	return func(t avroType) getter[T] {
		if t.kind != "long" {
			return nil
		}
		return s(t)
	}
}

// flag is a boolean, or 0 and 1 where slot_sync had a number.
func flag[T any](get func(*T) (v, ok bool)) source[T] {
	return func(t avroType) getter[T] {
		var no, yes any
		switch t.kind {
		case "boolean":
			no, yes = false, true
		case "long", "int":
			no, yes = int64(0), int64(1)
		default:
			return nil
		}
		return func(from *T) (any, error) {
			switch v, ok := get(from); {
			case !ok:
				return nil, nil
			case v:
				return yes, nil
			}
			return no, nil
		}
	}
}

// text is a string; a byte that is no UTF-8 would make the whole record unreadable for many consumers.
func text[T any](get func(*T) string) source[T] {
	return func(t avroType) getter[T] {
		if t.kind != "string" {
			return nil
		}
		box := boxed[string]()
		return func(from *T) (any, error) { return box(strings.ToValidUTF8(get(from), "\uFFFD")), nil }
	}
}

// date is an instant in UTC and whole seconds; the zero time is not there.
func date[T any](get func(*T) time.Time) source[T] {
	return func(t avroType) getter[T] {
		if t.kind != "string" {
			return nil
		}
		var last time.Time
		var box any
		return func(from *T) (any, error) {
			v := get(from)
			if v.IsZero() {
				return nil, nil
			}
			if v = v.UTC(); v != last || box == nil {
				if y := v.Year(); y < 0 || y > 9999 {
					return nil, errNotDate
				}
				last, box = v, v.Format(time.RFC3339)
			}
			return box, nil
		}
	}
}

// hours is a double. Infinities are refused, as JSON has none and no break is that long.
func hours[T any](get func(*T) (float64, bool)) source[T] {
	return func(t avroType) getter[T] {
		if t.kind != "double" {
			return nil
		}
		return func(from *T) (any, error) {
			v, ok := get(from)
			if !ok {
				return nil, nil
			}
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return nil, errNotHours
			}
			return v + 0, nil // makes one of the two zeros, which have different bytes
		}
	}
}

// wholeHours are truncated, as slot_sync's consumers know them, unless the schema has room for fractions.
func wholeHours[T any](get func(*T) float64) source[T] {
	exact := hours(func(from *T) (float64, bool) { return get(from), true })
	return func(t avroType) getter[T] {
		limit := math.MaxInt64 + 1.0
		switch t.kind {
		case "long":
		case "int":
			limit = math.MaxInt32 + 1.0
		default:
			return exact(t)
		}
		return func(from *T) (any, error) {
			v := math.Trunc(get(from))
			if !(-limit <= v && v < limit) { // in this form it is true of NaN too
				return nil, errNotHours
			}
			return int64(v), nil
		}
	}
}

// integers is an array; nil is not there.
func integers[T any](get func(*T) []int64) source[T] {
	return func(t avroType) getter[T] {
		if t.kind != "array" || len(t.items.branches) != 1 || t.items.union || t.items.branches[0].kind != "long" {
			return nil
		}
		var list []any
		return func(from *T) (any, error) {
			values := get(from)
			if values == nil {
				return nil, nil
			}
			list = list[:0]
			for _, v := range values {
				list = append(list, v)
			}
			return list, nil
		}
	}
}

// breaks is an array of records. Each place in it has a filler of its own, as all are filled before any is encoded.
func breaks(t avroType) getter[shiftsync.Shift] {
	if t.kind != "array" || len(t.items.branches) != 1 || t.items.union || t.items.branches[0].kind != "record" {
		return nil
	}
	record := t.items.branches[0]
	if _, err := newFiller(record, breakFields()); err != nil {
		return nil
	}
	var fillers []filler[shiftsync.Break]
	var list []any
	return func(s *shiftsync.Shift) (any, error) {
		if s.Breaks == nil {
			return nil, nil
		}
		list = list[:0]
		for i := range s.Breaks {
			if i == len(fillers) {
				f, err := newFiller(record, breakFields())
				if err != nil {
					return nil, err
				}
				fillers = append(fillers, f)
			}
			if err := fillers[i].from(&s.Breaks[i]); err != nil {
				return nil, err
			}
			list = append(list, fillers[i].values)
		}
		return list, nil
	}
}

// nothing is what linked_users always was.
func nothing[T any](t avroType) getter[T] {
	if zeroOf(t.kind) == nil {
		return nil
	}
	return func(*T) (any, error) { return nil, nil }
}

// boxed returns a function that puts a value into an interface, and gives the same one again while the value stays.
func boxed[V comparable]() func(V) any {
	var last V
	var box any = last
	return func(v V) any {
		if v != last {
			last, box = v, v
		}
		return box
	}
}
