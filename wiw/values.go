package wiw

import (
	"bytes"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	shiftsync "github.com/slotsync/slotsync/sync"
)

// The functions here read one JSON value that is known to be well formed, in whichever of its spellings it came. The
// bool that they return says whether it was there and could be read; if not, the value is zero.

// unquoted returns the content of a JSON string.
func unquoted(v []byte) []byte {
	if bytes.IndexByte(v, '\\') < 0 {
		return v[1 : len(v)-1]
	}
	content, _ := jsontext.AppendUnquote(nil, v) // the error is about bad UTF-8, which is replaced
	return content
}

// text reads a string, or the digits of a number.
func text(v jsontext.Value) string {
	switch v[0] {
	case '"':
		if bytes.IndexByte(v, '\\') < 0 && utf8.Valid(v) {
			return string(v[1 : len(v)-1])
		}
		content, _ := jsontext.AppendUnquote(nil, v)
		return string(content)
	case 't', 'f', 'n', '{', '[':
		return ""
	}
	return string(v)
}

func flag(v jsontext.Value) (value, ok bool) {
	switch v[0] {
	case 't':
		return true, true
	case 'f':
		return false, true
	case '"':
		switch content := bytes.TrimSpace(unquoted(v)); {
		case bytes.EqualFold(content, []byte("true")):
			return true, true
		case bytes.EqualFold(content, []byte("false")):
			return false, true
		}
	}
	f, ok := decimal(v)
	return f != 0, ok
}

// integer reads a whole number, or a flag as 0 or 1. A number with a fraction, or beyond 64 bits, is not read.
func integer(v jsontext.Value) (int64, bool) {
	switch v[0] {
	case 't':
		return 1, true
	case 'f':
		return 0, true
	}
	digits := numeral(v)
	if n, err := strconv.ParseInt(string(digits), 10, 64); err == nil {
		return n, true
	}
	f, ok := toFloat(digits)
	if !ok || f != math.Trunc(f) || f < -1<<63 || f >= 1<<63 {
		return 0, false
	}
	return int64(f), true
}

// decimal reads a number.
func decimal(v jsontext.Value) (float64, bool) { return toFloat(numeral(v)) }

func toFloat(digits []byte) (float64, bool) {
	for _, c := range digits {
		// strconv would take hexadecimal, underscores and infinities too.
		if (c < '0' || c > '9') && c != '-' && c != '+' && c != '.' && c != 'e' && c != 'E' {
			return 0, false
		}
	}
	f, err := strconv.ParseFloat(string(digits), 64)
	if err != nil {
		return 0, false
	}
	if f == 0 {
		f = 0 // drops the sign of a negative zero, which would be another content
	}
	return f, true
}

// numeral returns the text of a number, or of a number as text.
func numeral(v jsontext.Value) []byte {
	if v[0] == '"' {
		return bytes.TrimSpace(unquoted(v))
	}
	return v
}

func optional[T any](value T, ok bool) shiftsync.Optional[T] {
	return shiftsync.Optional[T]{Value: value, Set: ok}
}
