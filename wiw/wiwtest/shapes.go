package wiwtest

import (
	"strconv"
	"strings"
	"time"

	shiftsync "github.com/slotsync/slotsync/sync"
)

// Shape is one of the ways in which the API has written shifts over the years.
type Shape int

const (
	// Shape2012 is the least: 20 fields, "0000-00-00 00:00:00" for no date.
	Shape2012 Shape = iota
	// Shape2014 is the vendor's documented sample: is_open null, acknowledged_at "", half hours of break.
	Shape2014
	// Shape2016 renders the zero date with the year -001 and writes "" for a missing acknowledged_at.
	Shape2016
	// Shape2018 has the 26 fields that slot_sync published.
	Shape2018
	// Shape2025 adds breaks, lists of linked users and the flags that came since, some of them as 0 and 1.
	Shape2025
	shapes
)

// Fit returns s as a reader can know it from the shape: fields that it does not have are left out.
func (sh Shape) Fit(s shiftsync.Shift) shiftsync.Shift {
	s.BreakTimeHours = shiftsync.Some(s.BreakTime)
	if sh < Shape2025 {
		s.LinkedUserIDs, s.Breaks = nil, nil
		s.IsShared, s.IsTrimmed = shiftsync.Optional[bool]{}, shiftsync.Optional[bool]{}
		s.RequiresOpenshiftApproval = shiftsync.Optional[bool]{}
		s.OpenshiftApprovalRequestID = shiftsync.Optional[int64]{}
		s.IsApprovedWithoutTime = shiftsync.Optional[bool]{}
	} else {
		s.IsShared = shiftsync.Some(s.IsShared.Value)
		s.IsTrimmed = shiftsync.Some(s.IsTrimmed.Value)
		s.RequiresOpenshiftApproval = shiftsync.Some(s.RequiresOpenshiftApproval.Value)
		s.OpenshiftApprovalRequestID = shiftsync.Some(s.OpenshiftApprovalRequestID.Value)
		s.IsApprovedWithoutTime = shiftsync.Some(s.IsApprovedWithoutTime.Value)
		if s.Breaks == nil {
			s.Breaks = []shiftsync.Break{}
		}
	}
	switch sh {
	case Shape2012:
		s.Instances, s.Acknowledged, s.AcknowledgedAt = 0, false, time.Time{}
		s.CreatorID, s.Actionable = 0, false
	case Shape2014:
		s.IsOpen, s.Alerted, s.ShiftchainKey, s.BlockID, s.Actionable = false, false, "", 0, false
	}
	return s
}

// none is how a shape writes that there is no date.
func (sh Shape) none(field string) string {
	switch {
	case sh == Shape2012:
		return `"0000-00-00 00:00:00"`
	case sh == Shape2014 && field == "acknowledged_at", sh == Shape2016 && field == "acknowledged_at":
		return `""`
	case sh == Shape2016:
		return `"Tue, 29 Nov -001 19:00:00 -0500"`
	}
	return "null"
}

// Append appends the JSON of s in the shape, with dates in the zone. It is written by hand, so that what a reader
// makes of it can be held against s.
func (sh Shape) Append(b []byte, s *shiftsync.Shift, zone *time.Location) []byte {
	w := writer{b: append(b, '{'), zone: zone}
	w.integer("id", s.ID)
	w.integer("account_id", s.AccountID)
	w.integer("user_id", s.UserID)
	w.integer("location_id", s.LocationID)
	w.integer("position_id", s.PositionID)
	w.integer("site_id", s.SiteID)
	w.date("start_time", s.StartTime, "")
	w.date("end_time", s.EndTime, "")
	w.key("break_time")
	w.b = strconv.AppendFloat(w.b, s.BreakTime, 'f', -1, 64)
	w.text("color", s.Color)
	w.text("notes", s.Notes)
	if sh != Shape2014 {
		w.flag("alerted", s.Alerted)
		w.linked(s.LinkedUserIDs)
		w.text("shiftchain_key", s.ShiftchainKey)
	}
	w.flag("published", s.Published)
	w.date("published_date", s.PublishedDate, sh.none("published_date"))
	w.date("notified_at", s.NotifiedAt, sh.none("notified_at"))
	if sh != Shape2012 {
		w.integer("instances", s.Instances)
	}
	w.date("created_at", s.CreatedAt, sh.none("created_at"))
	w.date("updated_at", s.UpdatedAt, sh.none("updated_at"))
	if sh != Shape2012 {
		w.bit("acknowledged", s.Acknowledged)
		w.date("acknowledged_at", s.AcknowledgedAt, sh.none("acknowledged_at"))
		w.integer("creator_id", s.CreatorID)
	}
	if sh == Shape2014 {
		w.key("is_open")
		w.b = append(w.b, "null"...)
	} else {
		w.flag("is_open", s.IsOpen)
		w.integer("block_id", s.BlockID)
	}
	if sh >= Shape2016 {
		w.flag("actionable", s.Actionable)
	}
	if sh >= Shape2025 {
		w.flag("requires_openshift_approval", s.RequiresOpenshiftApproval.Value)
		w.integer("openshift_approval_request_id", s.OpenshiftApprovalRequestID.Value)
		w.bit("is_shared", s.IsShared.Value)
		w.flag("is_trimmed", s.IsTrimmed.Value)
		w.flag("is_approved_without_time", s.IsApprovedWithoutTime.Value)
		w.breaks(s)
	}
	return append(w.b, '}')
}

type writer struct {
	b    []byte
	zone *time.Location
}

func (w *writer) key(name string) {
	if last := w.b[len(w.b)-1]; last != '{' && last != '[' {
		w.b = append(w.b, ',')
	}
	w.b = append(w.b, '"')
	w.b = append(w.b, name...)
	w.b = append(w.b, `":`...)
}

func (w *writer) integer(name string, n int64) {
	w.key(name)
	w.b = strconv.AppendInt(w.b, n, 10)
}

func (w *writer) flag(name string, is bool) {
	w.key(name)
	w.b = strconv.AppendBool(w.b, is)
}

func (w *writer) bit(name string, is bool) {
	var n int64
	if is {
		n = 1
	}
	w.integer(name, n)
}

func (w *writer) date(name string, t time.Time, none string) {
	w.key(name)
	if t.IsZero() {
		w.b = append(w.b, none...)
		return
	}
	w.b = append(w.b, '"')
	w.b = t.In(w.zone).AppendFormat(w.b, time.RFC1123Z)
	w.b = append(w.b, '"')
}

func (w *writer) text(name, s string) {
	w.key(name)
	w.b = appendQuoted(w.b, s)
}

func (w *writer) linked(ids []int64) {
	w.key("linked_users")
	if ids == nil {
		w.b = append(w.b, "null"...)
		return
	}
	w.b = append(w.b, '[')
	for i, id := range ids {
		if i > 0 {
			w.b = append(w.b, ',')
		}
		w.b = strconv.AppendInt(w.b, id, 10)
	}
	w.b = append(w.b, ']')
}

func (w *writer) breaks(s *shiftsync.Shift) {
	w.key("breaks")
	w.b = append(w.b, '[')
	for i, br := range s.Breaks {
		if i > 0 {
			w.b = append(w.b, ',')
		}
		w.b = append(w.b, '{')
		w.integer("id", br.ID)
		w.integer("length", br.LengthSeconds)
		w.flag("paid", br.Paid)
		w.date("start_time", br.StartTime, "null")
		w.date("end_time", br.EndTime, "null")
		w.integer("sort", br.Sort)
		w.integer("shift_id", s.ID)
		w.b = append(w.b, '}')
	}
	w.b = append(w.b, ']')
}

// appendQuoted writes a JSON string as PHP does: slashes escaped, and everything beyond ASCII too.
func appendQuoted(b []byte, s string) []byte {
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"', r == '\\', r == '/':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, `\n`...)
		case r >= 0x10000:
			r -= 0x10000
			b = appendUnit(appendUnit(b, 0xd800+r>>10), 0xdc00+r&0x3ff)
		case r < ' ' || r > '~':
			b = appendUnit(b, r)
		default:
			b = append(b, byte(r))
		}
	}
	return append(b, '"')
}

func appendUnit(b []byte, r rune) []byte {
	digits := strconv.FormatInt(int64(r), 16)
	return append(append(b, `\u`...), strings.Repeat("0", 4-len(digits))+digits...)
}
