package wiw

import (
	"bytes"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// dateForm says what a value that should be a date turned out to be.
type dateForm uint8

const (
	aDate dateForm = iota
	noDate
	unknownDate
)

// parseDate reads a date in one of the forms that the API has used, or been seen to use. The time is in UTC, and zero
// unless the form is aDate.
func parseDate(v jsontext.Value) (time.Time, dateForm) {
	switch v[0] {
	case 'n':
		return time.Time{}, noDate
	case 't', 'f', '{', '[':
		return time.Time{}, unknownDate
	case '"':
		return parseDateText(bytes.TrimSpace(unquoted(v)))
	}
	return unixDate(v)
}

func parseDateText(s []byte) (time.Time, dateForm) {
	if t, ok := mailDate(s); ok {
		return checked(t)
	}
	if isZeroDate(s) {
		return time.Time{}, noDate
	}
	if t, err := time.Parse(time.RFC3339, string(s)); err == nil {
		return checked(t)
	}
	// Webhooks write this, in UTC.
	if t, err := time.Parse(time.DateTime, string(s)); err == nil {
		return checked(t)
	}
	if len(s) >= 9 { // shorter digits are rather a date without separators
		return unixDate(s)
	}
	return time.Time{}, unknownDate
}

// checked refuses what ISO 8601 cannot write in four digits of a year.
func checked(t time.Time) (time.Time, dateForm) {
	t = t.UTC()
	switch {
	case t.IsZero():
		return time.Time{}, noDate
	case t.Unix() < minUnix || t.Unix() > maxUnix:
		return time.Time{}, unknownDate
	}
	return t, aDate
}

// isZeroDate knows the spellings of MySQL's zero date, which is rendered with a negative year.
func isZeroDate(s []byte) bool {
	if len(s) == 0 || s[0] == '-' && bytes.Count(s, []byte("-")) > 1 || bytes.HasPrefix(s, []byte("0000-00-00")) {
		return true
	}
	// A year below zero has a space before and behind it; a zone only before.
	i := bytes.Index(s, []byte(" -"))
	if i < 0 {
		return false
	}
	_, rest, ok := digits(s[i+2:], 3, 4)
	return ok && len(rest) > 0 && rest[0] == ' '
}

// unixDate reads seconds since 1970; a fraction is dropped. Zero is no date.
func unixDate(s []byte) (time.Time, dateForm) {
	seconds, ok := toFloat(s)
	switch {
	case !ok || seconds < 0 || seconds > maxUnix:
		return time.Time{}, unknownDate
	case seconds < 1:
		return time.Time{}, noDate
	}
	return time.Unix(int64(seconds), 0).UTC(), aDate
}

const (
	minUnix = -62135596800 // the begin of the year 1
	maxUnix = 253402300799 // the end of the year 9999
)

// mailDate reads "Mon, 01 Oct 2018 15:27:30 +0100" (RFC 1123 with a numeric zone), as PHP and people write it: day and
// hour may have one digit, the zone three. The day of the week is not compared.
func mailDate(s []byte) (time.Time, bool) {
	s = afterWeekday(s)
	day, s, ok1 := digits(s, 1, 2)
	s, ok2 := literal(s, ' ')
	month, s, ok3 := monthName(s)
	s, ok4 := literal(s, ' ')
	year, s, ok5 := digits(s, 4, 4)
	s, ok6 := literal(s, ' ')
	hour, s, ok7 := digits(s, 1, 2)
	s, ok8 := literal(s, ':')
	minute, s, ok9 := digits(s, 2, 2)
	s, ok10 := literal(s, ':')
	second, s, ok11 := digits(s, 2, 2)
	s, ok12 := literal(s, ' ')
	if !(ok1 && ok2 && ok3 && ok4 && ok5 && ok6 && ok7 && ok8 && ok9 && ok10 && ok11 && ok12) {
		return time.Time{}, false
	}
	east, ok := zone(s)
	if !ok || hour > 23 || minute > 59 || second > 59 || day < 1 || day > daysIn(month, year) {
		return time.Time{}, false
	}
	return time.Date(year, month, day, hour, minute, second, 0, time.UTC).Add(-east), true
}

func daysIn(month time.Month, year int) int {
	switch month {
	case time.April, time.June, time.September, time.November:
		return 30
	case time.February:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// afterWeekday drops a name with a comma behind it, and spaces.
func afterWeekday(s []byte) []byte {
	i := 0
	for i < len(s) && ('a' <= s[i] && s[i] <= 'z' || 'A' <= s[i] && s[i] <= 'Z') {
		i++
	}
	if i < len(s) && s[i] == ',' {
		s = s[i+1:]
	}
	for len(s) > 0 && s[0] == ' ' {
		s = s[1:]
	}
	return s
}

// zone reads what stands behind the time of day, as a duration east of Greenwich.
func zone(s []byte) (time.Duration, bool) {
	switch string(s) {
	case "GMT", "UTC", "Z":
		return 0, true
	case "":
		return 0, false
	}
	sign := time.Duration(1)
	switch s[0] {
	case '-':
		sign = -1
	case '+':
	default:
		return 0, false
	}
	s = s[1:]
	if len(s) < 3 || len(s) > 5 {
		return 0, false
	}
	hours, minutes := s[:len(s)-2], s[len(s)-2:]
	hours = bytes.TrimSuffix(hours, []byte(":"))
	h, rest1, ok1 := digits(hours, 1, 2)
	m, rest2, ok2 := digits(minutes, 2, 2)
	if !ok1 || !ok2 || len(rest1)+len(rest2) > 0 || h > 23 || m > 59 {
		return 0, false
	}
	return sign * (time.Duration(h)*time.Hour + time.Duration(m)*time.Minute), true
}

// digits reads a number of at least least and at most most digits.
func digits(s []byte, least, most int) (n int, rest []byte, ok bool) {
	i := 0
	for i < len(s) && i < most && '0' <= s[i] && s[i] <= '9' {
		n = 10*n + int(s[i]-'0')
		i++
	}
	return n, s[i:], i >= least
}

// literal reads c once; a space may stand more than once.
func literal(s []byte, c byte) (rest []byte, ok bool) {
	if len(s) == 0 || s[0] != c {
		return s, false
	}
	s = s[1:]
	for c == ' ' && len(s) > 0 && s[0] == ' ' {
		s = s[1:]
	}
	return s, true
}

func monthName(s []byte) (time.Month, []byte, bool) {
	if len(s) < 3 {
		return 0, s, false
	}
	const names = "JanFebMarAprMayJunJulAugSepOctNovDec"
	for i := 0; i < len(names); i += 3 {
		if string(s[:3]) == names[i:i+3] {
			return time.Month(i/3 + 1), s[3:], true
		}
	}
	return 0, s, false
}
