package main

import (
	"strings"
	"testing"
	"time"
)

func TestWhatARecordSays(t *testing.T) {
	today := time.Now().Local().Truncate(time.Hour)
	at := func(hour, minute int) time.Time {
		return time.Date(today.Year(), today.Month(), today.Day(), hour, minute, 0, 0, time.Local)
	}
	text := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	day := at(0, 0).Format("Mon 2")
	shift := func(set ...any) map[string]any {
		fields := map[string]any{"start_time": text(at(9, 0)), "end_time": text(at(17, 0)), "notes": "", "user_id": int64(1000),
			"acknowledged_at": nil, "updated_at": text(at(8, 0))}
		for i := 0; i < len(set); i += 2 {
			fields[set[i].(string)] = set[i+1]
		}
		return fields
	}
	for _, c := range []struct {
		claim       string
		before, now map[string]any
		limit       int
		kind        kind
		says        string
	}{
		{"a new one says when and what", nil, shift("notes", "Till 3"), 0, added, day + " 09:00–17:00  Till 3"},
		{"without a note, there is no blank at the end", nil, shift(), 0, added, day + " 09:00–17:00"},
		{"a line end does not break the line", nil, shift("notes", "one\r\ntwo\nthree"), 0, added, day + " 09:00–17:00  one⏎two⏎three"},
		{"an escape does not reach the terminal", nil, shift("notes", "a\x1b[2Jb\x9bc\u202ed"), 0, added, day + " 09:00–17:00  a�[2Jb�c�d"},
		{"a change names the field, old and new", shift(), shift("user_id", int64(1001)), 0, changed, `user_id 1000 → 1001`},
		{"text has its quotes", shift(), shift("notes", "a\nb"), 0, changed, `notes "" → "a⏎b"`},
		{"nothing is null", shift(), shift("acknowledged_at", text(at(10, 5))), 0, changed, "acknowledged_at null → " + day + " 10:05"},
		{"the day is said once", shift(), shift("end_time", text(at(17, 15))), 0, changed, "end_time " + day + " 17:00 → 17:15"},
		{"several fields", shift(), shift("user_id", int64(2), "notes", "x"), 0, changed, `notes "" → "x", user_id 1000 → 2`},
		{"a change hides its time stamp", shift(), shift("user_id", int64(2), "updated_at", text(at(9, 1))), 0, changed, "user_id 1000 → 2"},
		{"but nothing else changed", shift(), shift("updated_at", text(at(9, 1))), 0, changed, "nothing but updated_at " + day + " 08:00 → 09:01"},
		{"a second is a difference", shift(), shift("updated_at", text(at(8, 0).Add(time.Second))), 0, changed,
			"nothing but updated_at " + at(8, 0).Format(time.DateTime) + " → " + at(8, 0).Add(time.Second).Format(time.DateTime)},
		{"a repeat", shift(), shift(), 0, same, "again, unchanged"},
		{"a tombstone", shift(), nil, 0, gone, "gone: a tombstone"},
		{"a long value is cut", shift(), shift("notes", strings.Repeat("long ", 50)), 12, changed, `notes "" → "long long…`},
		{"far dates have a month", shift("acknowledged_at", "2018-10-01T12:00:00Z"), shift(), 0, changed, "acknowledged_at 1 Oct 2018 " +
			time.Date(2018, 10, 1, 12, 0, 0, 0, time.UTC).Local().Format("15:04") + " → null"},
	} {
		t.Run(c.claim, func(t *testing.T) {
			kind, says := words(c.before, c.now, c.limit)
			if kind != c.kind || says != c.says {
				t.Errorf("got %s %q, want %s %q", kind, says, c.kind, c.says)
			}
		})
	}
}

func TestLinesFit(t *testing.T) {
	for _, c := range []struct {
		claim, text string
		limit       int
		want        []string
	}{
		{"no limit", "one two three", 0, []string{"one two three"}},
		{"it fits", "one two", 7, []string{"one two"}},
		{"words stay whole", "one two three", 8, []string{"one two", "three"}},
		{"a break exactly behind a word", "one two", 3, []string{"one", "two"}},
		{"columns stay apart", "a  b  c dd", 7, []string{"a  b  c", "dd"}},
		{"a word that is longer than the line", "see http://127.0.0.1/", 8, []string{"see", "http://1", "27.0.0.1", "/"}},
		{"wide characters take two", "早早 早早", 8, []string{"早早", "早早"}},
		{"a combining one takes none", "e\u0301e\u0301e\u0301 x", 5, []string{"e\u0301e\u0301e\u0301 x"}},
		{"no blank at the end", "one   ", 3, []string{"one"}},
	} {
		got := wrap(c.text, c.limit)
		if strings.Join(got, "|") != strings.Join(c.want, "|") {
			t.Errorf("%s: got %q, want %q", c.claim, got, c.want)
		}
	}
	for _, c := range []struct {
		text  string
		limit int
		want  string
	}{{"one two", 0, "one two"}, {"one two", 7, "one two"}, {"one two", 6, "one t…"}, {"one two", 5, "one…"}, {"早早早", 4, "早…"}} {
		if got := cut(c.text, c.limit); got != c.want {
			t.Errorf("cut(%q, %d): got %q, want %q", c.text, c.limit, got, c.want)
		}
	}
}
