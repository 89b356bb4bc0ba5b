package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// kind is what a record tells of its shift: the sign that stands before it.
type kind string

const (
	added   kind = "+"
	changed kind = "~"
	same    kind = "="
	gone    kind = "-"
)

// words says of a record what it is and what is new in it, given the fields that the last one of its shift had; none,
// if it is the first. A value takes at most limit cells; 0: as many as it has.
func words(before, now map[string]any, limit int) (kind, string) {
	switch {
	case now == nil:
		return gone, "gone: a tombstone"
	case before == nil:
		return added, strings.TrimSpace(span(now["start_time"], now["end_time"]) + "  " + clean(fmt.Sprint(now["notes"])))
	}
	var changes []string
	for _, field := range slices.Sorted(maps.Keys(now)) {
		if was, is := before[field], now[field]; field != "updated_at" && fmt.Sprint(was) != fmt.Sprint(is) {
			changes = append(changes, change(field, was, is, limit))
		}
	}
	switch was, is := before["updated_at"], now["updated_at"]; {
	case len(changes) > 0:
		return changed, strings.Join(changes, ", ")
	case was != is:
		return changed, "nothing but " + change("updated_at", was, is, limit)
	}
	return same, "again, unchanged"
}

// change says old → new of one field. Of two moments of one day, the second is said without the day.
func change(field string, was, is any, limit int) string {
	from, to := value(was), value(is)
	if before, after, dates := moments(was, is); dates {
		if day(before) == day(after) {
			to = clock(after)
		}
		if from == day(before)+" "+to {
			from, to = before.Format(time.DateTime), after.Format(time.DateTime) // less than a minute apart
		}
	}
	return fmt.Sprintf("%s %s → %s", field, cut(from, limit), cut(to, limit))
}

// value says what a field holds.
func value(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case string:
		if t, err := time.Parse(time.RFC3339, v); err == nil {
			return day(t) + " " + clock(t)
		}
		return `"` + clean(v) + `"`
	}
	return clean(fmt.Sprint(v))
}

// span says from when to when, in local time: Sat 21 09:00–17:00. The day of the end is only said if it is not the
// next night's.
func span(start, end any) string {
	from, to, dates := moments(start, end)
	switch {
	case !dates:
		return value(start) + "–" + value(end)
	case to.Sub(from) < 24*time.Hour:
		return day(from) + " " + clock(from) + "–" + clock(to)
	}
	return day(from) + " " + clock(from) + "–" + day(to) + " " + clock(to)
}

// moments reads two dates as records have them.
func moments(a, b any) (first, second time.Time, ok bool) {
	first, err := time.Parse(time.RFC3339, fmt.Sprint(a))
	if err != nil {
		return first, second, false
	}
	second, err = time.Parse(time.RFC3339, fmt.Sprint(b))
	return first, second, err == nil
}

// day is the local one, with its month if it is not about now.
func day(t time.Time) string {
	if away := time.Since(t).Abs(); away > 7*24*time.Hour {
		return t.Local().Format("2 Jan 2006")
	}
	return t.Local().Format("Mon 2")
}

func clock(t time.Time) string { return t.Local().Format("15:04") }
